"""`student.start`: a training begins with these weights, and they are part of what makes it."""

import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from vgsr import config
from vgsr.config import ConfigError
from vgsr.data import manifest as manifests
from vgsr.training import check, learner, loop
from vgsr.training.session import LocalSession
from vgsr.training.state import CheckpointError


@pytest.fixture
def start(untrained, tmp_path):
    """Weights of the tiny student, of another seed than the experiment's."""
    return untrained(seed=7, folder=tmp_path / "start")


@pytest.fixture
def experiment(tiny):
    def build(start, **student):
        values = {
            "name": "tiny",
            "corpus": {"manifest": str(tiny)},
            "student": {"channels": 8, "embedding": 16, "start": str(start), **student},
            "train": {"epochs": 1, "batch": 8, "crop_seconds": 0.5, "learning_rate": 1e-4},
        }
        return config.build(values)

    return build


@pytest.mark.parametrize("name", ["", "student.safetensors"])
def test_training_begins_with_these_weights(experiment, start, tmp_path, name):
    made = learner.build(learner.resolve(experiment(start / name)), LocalSession(tmp_path / "run"))
    wanted = load_file(start / "student.safetensors")
    found = made.student.state_dict()
    assert found.keys() == wanted.keys()
    for key, tensor in wanted.items():
        assert torch.equal(found[key], tensor), key


def test_their_content_is_part_of_what_a_run_learns_from(experiment, start, tmp_path, tiny):
    corpus = manifests.read(tiny)
    plain = learner.data_digest(corpus, None)
    moved = tmp_path / "moved"
    shutil.copytree(start, moved)
    found = [check.check(experiment(place)).data_digest for place in (start, moved)]
    assert found[0] == found[1] != plain
    weights = load_file(moved / "student.safetensors")
    weights["embedding.bias"][0] += 1
    save_file(weights, moved / "student.safetensors")
    assert check.check(experiment(moved)).data_digest not in (plain, found[0])


def test_a_run_does_not_go_on_from_other_weights(experiment, start, tmp_path):
    loop.train(experiment(start), LocalSession(tmp_path / "run"))
    weights = load_file(start / "student.safetensors")
    weights["embedding.bias"][0] += 1
    save_file(weights, start / "student.safetensors")
    with pytest.raises(CheckpointError, match="weights to start from"):
        loop.train(experiment(start), LocalSession(tmp_path / "run"))


def test_checking_says_what_it_starts_from(experiment, start):
    lines = check.check(experiment(start)).lines
    assert any(f"starting from {start}" in line for line in lines)
    assert any(line.startswith("warning") and "learnt from speakers" in line for line in lines)


@pytest.mark.parametrize(
    ("student", "said"),
    [
        ({"channels": 16}, "set student.channels: 8"),
        ({"embedding": 8, "channels": 16}, "set student.channels: 8, student.embedding: 16"),
        ({"backbone": "ecapa_wespeaker"}, "set student.backbone: ecapa"),
    ],
)
def test_another_student_is_refused_with_what_to_write(experiment, start, tmp_path, student, said):
    wrong = experiment(start, **student)
    for attempt in (check.check, lambda one: learner.build(learner.resolve(one), LocalSession(tmp_path / "run"))):
        with pytest.raises(ConfigError, match=f"student.start: .* is another student; to start from it, {said}$"):
            attempt(wrong)


def test_weights_without_a_description_are_held_against_their_shapes(experiment, start):
    (start / "experiment.yaml").unlink()
    assert check.check(experiment(start)).lines
    with pytest.raises(ConfigError, match=r"student.start: .*student\.safetensors: .* tensors differ"):
        check.check(experiment(start, channels=16))


def test_weights_on_s3_are_those_of_here(experiment, start, s3):
    for name in ("student.safetensors", "experiment.yaml"):
        s3.client.upload_file(str(start / name), s3.name, f"start/{name}")
    found = check.check(experiment(f"{s3.place}/start"))
    assert found.data_digest == check.check(experiment(start)).data_digest
    with pytest.raises(ConfigError, match=r"set student\.channels: 8"):
        check.check(experiment(f"{s3.place}/start", channels=16))


def test_nothing_there(experiment, tmp_path):
    for place in (tmp_path / "none", tmp_path / "none.safetensors"):
        with pytest.raises(ConfigError, match=r"student\.start: .*none"):
            check.check(experiment(place))
