"""Somebody else's experiment: whatever is in it, reading it runs nothing, takes nothing, and says what is wrong."""

import os

import pytest

from vgsr import config
from vgsr.config import ConfigError
from vgsr.config.yaml_file import DEEPEST, MOST_BYTES, MOST_VALUES

GOOD = "name: x\ncorpus: {manifest: m}\n"
LAUGHS = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9) if n else 'lol'}]\n" for n in range(30))
CHAIN = "".join(f"a{n}: &a{n} [{f'*a{n - 1}' if n else 'lol'}]\n" for n in range(3 * DEEPEST))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("seed: !!python/object/apply:os.system ['echo run > {flag}']", "line 3: .*tags are not read"),
        ("seed: !!python/object/new:os.system {{args: ['echo run > {flag}']}}", "tags are not read"),
        ("seed: !!python/name:os.system", "in quotes, without a tag"),
        ("seed: !!binary aGFsbG8=", "binary"),
        ("student: {{backbone: 2024-01-01}}", "line 3: timestamp '2024-01-01' is no text"),
        ("name: y", "line 3: the key 'name' is there twice"),
        ("student: {{channels: 8, channels: 16}}", "the key 'channels' is there twice"),
        ("1: x", "line 3: the key '1' is no text"),
        ("? [a, b]\n: x", "a list or mapping' is no text|a list or mapping is no text"),
        ("seed: &s [*s]", "an alias to what holds it"),
        ("seed: " + "[" * 5000, f"nested more than {DEEPEST} levels"),
        ("seed: " + "9" * 5000, "a number of 5,000 digits"),
        ('student: {{backbone: "a\\0b"}}', "control characters"),
        ('student: {{backbone: "\\e[2Jx"}}', "control characters"),
        ("train: {{learning_rate: .nan}}", "finite number"),
        ("train: {{learning_rate: .inf}}", "finite number"),
        ("distill: {{method: l2, options: {{x: .nan}}}}\nteacher: {{bank: b}}", "finite number"),
        ("student: {{channels: 1000000000}}", "student.channels: .*65536"),
        ("train: {{batch: 1000000000000}}", "train.batch: "),
        ("train: {{loader_processes: 100000}}", "train.loader_processes: "),
        ("seed: " + "9" * 39, "seed: "),
    ],
)
def test_a_hostile_experiment_is_refused(tmp_path, flag, text, said):
    file = tmp_path / "e.yaml"
    file.write_text(GOOD + text.format(flag=flag))
    with pytest.raises(ConfigError, match=said) as refused:
        config.load(file)
    assert str(file) in str(refused.value) and len(str(refused.value)) < 2000


@pytest.mark.parametrize(("text", "said"), [(LAUGHS, "stands for more than"), (CHAIN, "nested more than")])
def test_aliases_stand_for_no_more_than_is_written_out(tmp_path, bounded, text, said):
    (tmp_path / "e.yaml").write_text(text)
    with bounded(100), pytest.raises(ConfigError, match=rf"e\.yaml.*{said}"):
        config.load(tmp_path / "e.yaml")
    few = "name: x\ncorpus: &c {manifest: m}\nevaluate: {noise: &n noise}\naugment: {rirs: *n}\n"
    (tmp_path / "e.yaml").write_text(few)
    assert config.load(tmp_path / "e.yaml").augment.rirs == str(tmp_path / "noise")


def test_it_is_small_plain_text(tmp_path, bounded):
    file = tmp_path / "e.yaml"
    with file.open("wb") as huge:
        huge.truncate(1 << 40)  # a terabyte of nothing
    with bounded(100), pytest.raises(ConfigError, match="bytes; no experiment is longer"):
        config.load(file)
    file.write_text("evaluate: {trials: [" + "a, " * MOST_VALUES + "]}")
    with pytest.raises(ConfigError, match="stands for more than"):
        config.load(file)
    file.write_bytes(b"name: \xff\xfe")
    with pytest.raises(ConfigError, match="not UTF-8"):
        config.load(file)
    os.mkfifo(tmp_path / "pipe")
    for place in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(ConfigError, match="not a file"):
            config.load(place)
    with pytest.raises(ConfigError, match="null byte"):
        config.load(f"{tmp_path}/\0")


def test_many_mistakes_are_one_page(tmp_path):
    file = tmp_path / "e.yaml"
    file.write_text(GOOD + "".join(f"unknown{number}: 1\n" for number in range(3000)))
    with pytest.raises(ConfigError, match="more") as refused:
        config.load(file)
    assert len(str(refused.value).splitlines()) == 21 and file.stat().st_size < MOST_BYTES


@pytest.mark.parametrize("name", ["..", ".", ".hidden", "-rf", "a/b", "../x", "a\n", "a b", "x" * 201, "/etc"])
def test_a_name_that_becomes_a_folder_leads_nowhere(name):
    with pytest.raises(ConfigError, match="name: "):
        config.build({"name": name, "corpus": {"manifest": "m"}})


def test_overrides_are_read_in_the_same_way(flag):
    for text in (f"seed=!!python/object/apply:os.system ['echo run > {flag}']", "seed=[[[[" * 50, "seed=2020-01-01"):
        with pytest.raises(ConfigError, match="override"):
            config.parse_overrides([text])
