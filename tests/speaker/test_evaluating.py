"""Nobody is tested who was in training: the check stands before everything that a model is tested by."""

import shutil

import numpy as np
import pytest
import soundfile
from typer.testing import CliRunner

from vgsr import speaker
from vgsr.cli.app import app
from vgsr.config import ConfigError
from vgsr.data import manifest as manifests
from vgsr.data.manifest import ManifestError
from vgsr.evaluation.system import Scoring
from vgsr.speaker import evaluating
from vgsr.training import check

DEV, TEST = [f"id{10001 + n}" for n in range(8)], ["id10270", "id10271", "id10272"]


@pytest.fixture(scope="module")
def voxceleb(tmp_path_factory):
    """A little VoxCeleb1, all for tests, with the lists -O, -E and -H; and the same recordings as a Kaldi directory."""
    folder = tmp_path_factory.mktemp("voxceleb")
    rng = np.random.default_rng(0)
    rows = []
    for person in [*DEV, *TEST]:
        for number in range(2):
            name = f"{person}/video{number}/00001.wav"
            (folder / "wav" / name).parent.mkdir(parents=True)
            soundfile.write(folder / "wav" / name, 0.1 * rng.standard_normal(16000), 16000)
            rows.append((name, person, f"{person}/video{number}"))

    def trials(people):
        return [(int(a == b), f"{a}/video0/00001.wav", f"{b}/video1/00001.wav") for a in people for b in people[:3]]

    lists = {"vox1-o": trials(TEST), "vox1-e": trials(DEV + TEST), "vox1-h": trials(DEV)}
    for corpus in ("voxceleb1", "kaldi"):
        manifests.write(
            folder / corpus,
            corpus=corpus,
            root=folder / "wav",
            synthetic=False,
            utterances=[
                {
                    "utterance_id": name,
                    "speaker": person,
                    "session": session,
                    "uri": name,
                    "start": 0.0,
                    "seconds": 1.0,
                    "sample_rate": 16000,
                    "split": "test",
                }
                for name, person, session in rows
            ],
            faces=[],
            trials=lists,
            problems=[],
        )
    return folder


@pytest.fixture
def of_dev(untrained, tmp_path):
    """A model "trained" on the set dev of VoxCeleb1."""
    folder = untrained(folder=tmp_path / "of_dev", corpus="voxceleb1")
    (folder / "speakers.txt").write_text("".join(f"{name}\n" for name in DEV))
    return folder


@pytest.mark.parametrize("corpus", ["voxceleb1", "kaldi"])
def test_a_model_of_dev_is_refused_on_e_and_h(of_dev, voxceleb, corpus):
    model, tested = speaker.load(of_dev), manifests.read(voxceleb / corpus)
    for name, count in (("vox1-e", 8), ("vox1-h", 8)):
        with pytest.raises(ManifestError, match=f"this model's training set.*{count} of trials '{name}': id10001"):
            speaker.evaluate(model, tested, [name])
    with pytest.raises(ManifestError, match="Test on vox1-o alone"):  # all lists, where none is named
        speaker.evaluate(model, tested)
    found = speaker.evaluate(model, tested, ["vox1-o"])
    assert [one.result.protocol.trials for one in found] == [f"{corpus}/vox1-o"]


def test_only_what_is_open_can_be_said_to_be_namesakes(of_dev, voxceleb):
    model = speaker.load(of_dev)
    found = speaker.evaluate(model, manifests.read(voxceleb / "kaldi"), ["vox1-h"], namesakes=True)
    assert len(found) == 1
    with pytest.raises(ManifestError):
        speaker.evaluate(model, manifests.read(voxceleb / "voxceleb1"), ["vox1-h"], namesakes=True)


@pytest.mark.parametrize("command", ["evaluate", "robustness"])
def test_the_commands_refuse_before_anything_is_embedded(command, of_dev, voxceleb, tmp_path, monkeypatch):
    monkeypatch.setattr("vgsr.evaluation.embedding.embed", lambda *_: pytest.fail("embedded"))
    more = ["--noise", str(tmp_path)] if command == "robustness" else []
    done = CliRunner().invoke(app, [command, str(of_dev), str(voxceleb / "kaldi"), "--trials", "vox1-h", *more])
    assert isinstance(done.exception, ManifestError) and "--namesakes" in str(done.exception)


def test_training_that_could_not_be_tested_is_refused_before(voxceleb, tiny, tiny_experiment, tmp_path):
    """The tiny corpus, called VoxCeleb1, with the names of dev."""
    made, names = manifests.read(tiny), {}
    for person in made.split("train")["speaker"].unique().to_pylist():
        names[person] = DEV[len(names) % len(DEV)] if len(names) < len(DEV) else person
    rows = [{**row, "speaker": names.get(row["speaker"], row["speaker"])} for row in made.utterances.to_pylist()]
    shutil.copytree(tiny, tmp_path / "audio")
    trained = manifests.write(
        tmp_path / "trained",
        corpus="voxceleb1",
        root=tmp_path / "audio",
        synthetic=True,
        utterances=rows,
        faces=[],
        trials=made.trials,
        problems=[],
    )
    changes = {"corpus.manifest": trained.place, "distill.method": "none", "teacher.bank": None, "quality.signals": []}

    def experiment(corpus, *lists, **more):
        tested = {"evaluate.manifests": [str(voxceleb / corpus)], "evaluate.trials": list(lists)}
        return tiny_experiment({**changes, **tested, **more})

    for corpus in ("voxceleb1", "kaldi"):
        check.check(experiment(corpus, "vox1-o"))
        with pytest.raises(ConfigError, match=r"evaluate: .*the training set \(voxceleb1\).*trials 'vox1-h'"):
            check.check(experiment(corpus, "vox1-o", "vox1-h"))
    check.check(experiment("kaldi", "vox1-h", **{"evaluate.namesakes": True}))
    assert experiment("kaldi", "vox1-h", **{"evaluate.namesakes": True}).digest == experiment("kaldi", "vox1-h").digest


def test_a_cohort_that_knows_the_trials_is_refused(of_dev, voxceleb, tiny):
    """As-norm against a corpus whose training speakers are in the trials, whatever that corpus is called."""
    rows = manifests.read(voxceleb / "kaldi").utterances.to_pylist()
    made = manifests.write(
        voxceleb / "cohort",
        corpus="mine",
        root=voxceleb / "wav",
        synthetic=False,
        utterances=[{**row, "split": "train"} for row in rows if row["speaker"] in TEST],
        faces=[],
        trials={},
        problems=[],
    )
    model, tested = speaker.load(of_dev), manifests.read(voxceleb / "voxceleb1")
    scorer = evaluating.as_system(model, Scoring("as-norm", 2), made)
    with pytest.raises(ManifestError, match=r"in the cohort \(mine\).*3 of trials 'vox1-o'"):
        speaker.evaluate(model, tested, ["vox1-o"], scorer=scorer)
    assert speaker.evaluate(model, tested, ["vox1-o"], scorer=scorer, namesakes=True)
