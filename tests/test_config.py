"""Experiments: strict, frozen, and helpful about mistakes."""

import pytest
import yaml
from pydantic import ValidationError

from vgsr import config
from vgsr.config import ConfigError

LEAST = {"name": "x", "corpus": {"manifest": "m"}}


def test_the_resolved_experiment_reads_back_as_itself():
    one = config.build(LEAST, {"train.epochs": 3, "distill.options.temperature": 0.5, "augment.snr": [1, 2]})
    again = config.build(yaml.safe_load(one.yaml()))
    assert again == one and again.digest == one.digest


def test_an_experiment_cannot_be_changed():
    with pytest.raises(ValidationError):
        config.build(LEAST).train.epochs = 3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trian.epochs=3", "did you mean 'train'"),
        ("train.epoch=3", "did you mean 'epochs'"),
        ("distill.margin.vlaue=3", "did you mean 'value'"),
        ("quality.signals=[face_nrom]", "face_norm"),
        ("distill.quality.floor=0.1", "unknown key 'distill.quality'"),
        ("distill.margin.kind=hing", "'hinge'"),
        ("distill=[{method: kd}, {methd: l2}]", "'distill.1.methd'; did you mean 'method'"),
        ("distill=[{method: kd}, {method: kd}]", "different methods"),
        ("distill=[{method: kd}, {method: none}]", "different methods"),
        ("distill.0.weight=1", "distill.0"),
        ("train.epochs=many", "train.epochs"),
        ("train.epochs=0", "greater than or equal to 1"),
        ("distill.margin.value=-1", "distill.margin.value"),
        ("name.first=3", "is a value, not a section"),
        ("name=a b", "name"),
        ("train.workers=33", "needs two utterances"),
        ("distill.method=cosine", "teacher.bank"),
        ("augment.snr=[20, 0]", "lower bound first"),
        ("epochs", "key.sub=value"),
    ],
)
def test_a_mistake_is_named_with_what_to_do(override, said):
    with pytest.raises(ConfigError) as error:
        config.build(LEAST, config.parse_overrides([override]))
    assert said in str(error.value)


TWO = {**LEAST, "teacher": {"bank": "b"}, "distill": [{"method": "cosine"}, {"method": "kd", "weight": 2}]}


def test_distill_takes_one_or_a_list():
    one = config.build({**TWO, "distill": {"method": "cosine"}})
    assert one == config.build({**TWO, "distill": [{"method": "cosine"}]})
    assert one.flat()["distill.method"] == "cosine" and "method: cosine" in one.yaml()
    two = config.build(TWO, {"distill.1.margin.value": 0.3, "distill.0.options": {"a": 1}})
    assert [each.method for each in two.taught] == ["cosine", "kd"] and two.distill[1].margin.value == 0.3
    assert two.flat()["distill.1.weight"] == 2 and config.build(yaml.safe_load(two.yaml())) == two
    assert two.digest != config.build(TWO).digest
    assert not config.build(TWO, {"distill": {"method": "none"}}).taught
    assert not config.build({**TWO, "distill": []}).taught


@pytest.mark.parametrize("key", ["distill.margin.value", "distill.2.margin.value", "distill.x.weight"])
def test_a_list_needs_a_place_in_it(key):
    with pytest.raises(ConfigError, match="0 to 1"):
        config.build(TWO, {key: 0.1})


def test_a_quantile_margin_is_a_level():
    with pytest.raises(ConfigError, match="level"):
        config.build(LEAST, {"distill.margin.unit": "quantile", "distill.margin.value": 1.5})


def test_all_mistakes_are_told_at_once():
    with pytest.raises(ConfigError) as error:
        config.build(LEAST, {"train.epochs": -1, "train.bath": 3})
    assert len(str(error.value).splitlines()) == 2


def test_paths_are_relative_to_the_file(tmp_path):
    file = tmp_path / "sub" / "e.yaml"
    file.parent.mkdir()
    file.write_text(
        "name: a\ncorpus: {manifest: ../corpus}\nteacher: {bank: /abs/bank}\naugment: {noise: s3://b/n}\n"
        "evaluate: {manifests: [one, /two]}\n"
    )
    loaded = config.load(file)
    assert loaded.corpus.manifest == str(tmp_path / "corpus")
    assert loaded.evaluate.manifests == (str(tmp_path / "sub" / "one"), "/two")
    assert (loaded.teacher.bank, loaded.augment.noise) == ("/abs/bank", "s3://b/n")


def test_a_file_says_what_it_changes_of_its_base(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "plain.yaml").write_text(
        "name: plain\ncorpus: {manifest: vox1}\ntrain: {epochs: 7, batch: 32}\nquality: {signals: [face_norm]}\n"
    )
    (tmp_path / "sub" / "taught.yaml").write_text(
        "base: ../plain.yaml\nname: taught\nteacher: {bank: faces.parquet}\ntrain: {batch: 64}\n"
        "distill: {method: cosine}\nquality: {signals: []}\n"
    )
    (tmp_path / "longer.yaml").write_text("base: sub/taught.yaml\ntrain: {epochs: 9}\n")
    experiment = config.load(tmp_path / "longer.yaml", ["seed=3"])
    assert experiment == config.build(
        {
            "name": "taught",
            "seed": 3,
            "corpus": {"manifest": str(tmp_path / "vox1")},
            "teacher": {"bank": str(tmp_path / "sub" / "faces.parquet")},
            "distill": {"method": "cosine"},
            "train": {"epochs": 9, "batch": 64},
        }
    )


@pytest.mark.parametrize(
    ("first", "second", "said"),
    [
        ("base: b.yaml", "base: a.yaml", "leads back"),
        ("base: a.yaml", "", "leads back"),
        ("base: [b.yaml]", "", "the path of another experiment"),
        ("base: c.yaml", "", "No such file"),
        ("base: b.yaml", "- 1", "b.yaml: an experiment is a mapping"),
    ],
)
def test_a_base_that_leads_nowhere(tmp_path, first, second, said):
    (tmp_path / "a.yaml").write_text(first)
    (tmp_path / "b.yaml").write_text(second)
    with pytest.raises(config.ConfigError, match=said):
        config.load(tmp_path / "a.yaml")


def test_bases_end_somewhere(tmp_path):
    (tmp_path / "0.yaml").write_text("name: x\ncorpus: {manifest: m}\n")
    for number in range(1, 8):
        (tmp_path / f"{number}.yaml").write_text(f"base: {number - 1}.yaml\n")
    assert config.load(tmp_path / "4.yaml").name == "x"
    with pytest.raises(config.ConfigError, match="more than 4 files"):
        config.load(tmp_path / "7.yaml")


@pytest.mark.parametrize("text", ["- a list", "a: [", "!!python/object/apply:os.system ['true']"])
def test_a_file_that_is_no_experiment_is_refused(tmp_path, text):
    file = tmp_path / "e.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError, match=r"e\.yaml"):
        config.load(file)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        config.load(tmp_path / "nowhere.yaml")


def test_the_digest_is_of_the_numbers_not_of_the_machine():
    base = config.build(LEAST)
    assert config.override(base, {"train.workers": 2, "train.cpus_per_worker": 2}).digest == base.digest
    assert config.override(base, {"seed": 1}).digest != base.digest
    assert config.override(base, {"distill.margin.value": 0.1}).digest != base.digest
