"""Checking: everything that is wrong is told at once, before anything is started."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from vgsr.config import ConfigError
from vgsr.data import manifest
from vgsr.evaluation import metrics
from vgsr.teachers import bank as banks
from vgsr.training import check


def test_what_an_experiment_points_at_is_told(tiny_experiment, tiny):
    found = check.check(tiny_experiment())
    text = "\n".join(found.lines)
    corpus = manifest.read(tiny)
    assert f"{len(corpus.split('train')):,} training utterances" in text and "SYNTHETIC" in text
    assert "a face for 100.0 % of the training utterances, 100.0 % of the speakers" in text
    assert found.figures["face_coverage"] == found.figures["face_coverage_speakers"] == 1
    assert (found.manifest_digest, found.synthetic) == (corpus.digest, True)


def test_the_teachers_eer_is_that_of_its_own_faces(tiny_experiment, tiny):
    """Recomputed face by face: the session's face against the other session's."""
    corpus, bank = manifest.read(tiny), banks.read(tiny / "banks" / "synthetic.parquet")
    place = {row["utterance_id"]: (row["speaker"], row["session"]) for row in corpus.utterances.to_pylist()}
    faces = {}
    for row, vector in zip(bank.table.select(["speaker", "session"]).to_pylist(), bank.matrix(), strict=True):
        faces.setdefault((row["speaker"], row["session"]), []).append(vector / np.linalg.norm(vector))
    scores, labels = [], []
    for trial in corpus.trials["validation"].to_pylist():
        a, b = (place[trial[side]] for side in ("enrol", "test"))
        if a != b:
            one, other = (np.mean(faces[key], axis=0) for key in (a, b))
            scores.append(one @ other / np.linalg.norm(one) / np.linalg.norm(other))
            labels.append(trial["label"])
    assert check.check(tiny_experiment()).teacher_eer == pytest.approx(metrics.eer(scores, labels).value)


def test_without_a_teacher_there_is_no_teachers_eer(tiny_experiment):
    assert check.check(tiny_experiment({"distill.method": "none"})).teacher_eer is None


def test_every_mistake_is_told_at_once(tiny_experiment, tmp_path):
    changes = {
        "student.backbone": "ecappa",
        "distill.method": "cosin",
        "augment.noise": str(tmp_path / "nothing"),
        "evaluate.trials": ["tset"],
        "teacher.bank": str(tmp_path / "bank.parquet"),
    }
    with pytest.raises(ConfigError) as error:
        check.check(tiny_experiment(changes))
    text = str(error.value)
    for said in ("'ecapa'", "'cosine'", "no such folder", "'tset'", "bank.parquet"):
        assert said in text
    assert len(text.splitlines()) == 5


def test_an_option_the_method_lacks_is_named(tiny_experiment):
    with pytest.raises(ConfigError, match="temperature"):
        check.check(tiny_experiment({"distill.method": "infonce", "distill.options": {"temprature": 0.1}}))


def test_more_hard_speakers_than_there_are_is_told(tiny_experiment, tiny):
    speakers = len(manifest.read(tiny).split("train")["speaker"].unique())
    check.check(tiny_experiment({"classification.top_k": speakers - 1}))
    with pytest.raises(ConfigError, match=f"classification: top_k is {speakers}, but {speakers} training speakers"):
        check.check(tiny_experiment({"classification.top_k": speakers}))


def test_a_missing_manifest_is_told(tiny_experiment, tmp_path):
    with pytest.raises(ConfigError, match="vgsr prepare"):
        check.check(tiny_experiment({"corpus.manifest": str(tmp_path)}))


def test_recordings_that_are_gone_are_found_before_training(tiny_experiment, tiny, tmp_path):
    copy = tmp_path / "corpus"
    shutil.copytree(tiny, copy)
    shutil.rmtree(copy / "audio")
    with pytest.raises(ConfigError, match="no such file"):
        check.check(tiny_experiment({"corpus.manifest": str(copy)}))


def test_a_signal_nobody_knows_is_refused(tiny_experiment, tiny, tmp_path):
    bank = banks.read(tiny / "banks" / "synthetic.parquet")
    ids = bank.table["face_id"].to_pylist()
    np.save(tmp_path / "e.npy", bank.matrix() / np.linalg.norm(bank.matrix(), axis=1, keepdims=True))
    (tmp_path / "ids.txt").write_text("\n".join(ids))
    imported = banks.import_embeddings(tmp_path / "e.npy", manifest.read(tiny), ids=tmp_path / "ids.txt")
    banks.write(tmp_path / "b.parquet", imported)
    with pytest.raises(ConfigError, match="face_norm"):
        check.check(tiny_experiment({"teacher.bank": str(tmp_path / "b.parquet")}))
    check.check(tiny_experiment({"teacher.bank": str(tmp_path / "b.parquet"), "quality.signals": []}))


@pytest.mark.parametrize("changes", [{"distill": {"method": "none"}}, {"teacher.control": "random"}])
def test_a_run_to_compare_with_keeps_its_signals_of_faces(tiny_experiment, changes):
    check.check(tiny_experiment(changes))
    with pytest.raises(ConfigError, match=r"speech_dnsmos.*--dnsmos"):
        check.check(tiny_experiment({**changes, "quality.signals": ["speech_dnsmos"]}))


def test_checking_reads_no_ray_and_no_mlflow(tiny_experiment, tmp_path):
    import subprocess
    import sys

    (tmp_path / "e.yaml").write_text(tiny_experiment().yaml())
    code = (
        "import sys, vgsr.cli; sys.argv = ['vgsr', 'validate', sys.argv[1]]\n"
        "try: vgsr.cli.main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "import json; print(json.dumps([name for name in ('ray', 'mlflow') if name in sys.modules]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(tmp_path / "e.yaml"))], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout.splitlines()[-1]) == []
