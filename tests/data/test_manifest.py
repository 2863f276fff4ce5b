"""Manifests: complete, checked, and the same digest wherever and in whatever order they are written."""

import random

import pytest

from vgsr.data import manifest
from vgsr.data.manifest import ManifestError, Problem


def utterance(number, speaker, split="train"):
    return {
        "utterance_id": f"u{number}",
        "speaker": speaker,
        "session": "s",
        "uri": f"{number}.wav",
        "start": 0.0,
        "seconds": 2.0,
        "sample_rate": 16000,
        "split": split,
        "speech_snr": None,
        "speech_clipping": None,
        "speech_dnsmos": None,
    }


def rows():
    return [utterance(i, f"p{i // 2}", "train" if i < 6 else "test") for i in range(10)]


def write(path, utterances=None, trials=None, root=None, **more):
    settings = {"corpus": "c", "synthetic": False, "faces": [], "problems": [], **more}
    return manifest.write(
        path,
        root=root or path,
        utterances=utterances or rows(),
        trials={"test": [(1, "u6", "u7"), (0, "u6", "u8")]} if trials is None else trials,
        **settings,
    )


def test_what_is_written_is_read(tmp_path):
    made = write(tmp_path / "m", problems=[Problem("bad.wav", "empty file")])
    read = manifest.read(tmp_path / "m")
    assert read.digest == made.digest and read.utterances.to_pylist() == rows()
    assert read.trials["test"].to_pylist()[0] == {"label": 1, "enrol": "u6", "test": "u7"}
    assert manifest.problems(read).to_pylist() == [{"uri": "bad.wav", "reason": "empty file"}]
    assert read.split("test")["utterance_id"].to_pylist() == ["u6", "u7", "u8", "u9"]


def test_the_digest_is_of_the_content(tmp_path):
    shuffled = rows()
    random.Random(0).shuffle(shuffled)
    one, two = write(tmp_path / "a" / "m"), write(tmp_path / "b" / "n", shuffled, root="/elsewhere")
    changed = rows()
    changed[3]["seconds"] = 2.5
    assert one.digest == two.digest != write(tmp_path / "c", changed).digest
    assert write(tmp_path / "d", trials={"test": [(1, "u6", "u7")]}).digest != one.digest


def test_the_folder_can_be_moved_with_its_audio(tmp_path):
    write(tmp_path / "m")
    (tmp_path / "m").rename(tmp_path / "n")
    moved = manifest.read(tmp_path / "n")
    assert moved.file("1.wav") == str(tmp_path / "n" / "1.wav")
    assert moved.file("s3://bucket/1.wav") == "s3://bucket/1.wav"


@pytest.mark.parametrize(
    ("utterances", "trials", "said"),
    [
        ([utterance(1, "a"), utterance(1, "b")], {}, "not unique"),
        ([utterance(1, "a", "dev")], {}, "unknown split"),
        (rows(), {"t": [(1, "u6", "u99")]}, "u99"),
        (rows(), {"t": [(1, "u6", "u8")]}, "contradict"),
        (rows(), {"t": [(0, "u6", "u0")]}, "also in training"),
    ],
)
def test_a_manifest_that_would_give_worthless_figures_is_refused(tmp_path, utterances, trials, said):
    with pytest.raises(ManifestError, match=said):
        write(tmp_path / "m", utterances, trials)
    assert not (tmp_path / "m" / "manifest.json").exists()


def test_a_speaker_in_training_and_in_trials_is_refused_even_with_other_utterances(tmp_path):
    both = [*rows(), utterance(20, "p4", "train")]
    with pytest.raises(ManifestError, match="p4"):
        write(tmp_path / "m", both)


def test_a_failed_write_leaves_the_old_manifest(tmp_path):
    old = write(tmp_path / "m")
    with pytest.raises(ManifestError):
        write(tmp_path / "m", [utterance(1, "a"), utterance(1, "b")], {})
    assert manifest.read(tmp_path / "m").digest == old.digest
    assert [item.name for item in tmp_path.iterdir()] == ["m"]


def test_lists_of_an_earlier_write_do_not_stay(tmp_path):
    write(tmp_path / "m", trials={"old": [(1, "u6", "u7")]})
    write(tmp_path / "m")
    assert list(manifest.read(tmp_path / "m").trials) == ["test"]


def test_a_manifest_of_another_format_says_what_to_do(tmp_path):
    write(tmp_path / "m")
    header = tmp_path / "m" / "manifest.json"
    header.write_text(header.read_text().replace('"format": 2', '"format": 1'))
    with pytest.raises(ManifestError, match=r"format 1.*prepare it again"):
        manifest.read(tmp_path / "m")


def test_what_is_missing_or_damaged_is_named(tmp_path):
    with pytest.raises(ManifestError, match="prepare"):
        manifest.read(tmp_path)
    made = write(tmp_path / "m")
    with pytest.raises(ManifestError, match="it has: test"):
        made.named_trials("tset")
    (tmp_path / "m" / "utterances.parquet").write_bytes(b"PAR1 not really")
    with pytest.raises(ManifestError, match="damaged"):
        manifest.read(tmp_path / "m")


MODELS = [("model-a", "u6"), ("model-a", "u7"), ("u-model", "u8")]


def test_people_may_be_enrolled_by_several_utterances(tmp_path):
    trials = {"test": [(0, "model-a", "u8"), (1, "u-model", "u9"), (1, "u6", "u7")]}
    made = write(tmp_path / "m", trials=trials, enrolments={"test": MODELS})
    assert made.enrolled("test") == {"model-a": ["u6", "u7"], "u-model": ["u8"]}
    assert made.enrolled("other") == {}
    swapped = [("model-a", "u6"), ("model-a", "u6"), ("u-model", "u8")]
    assert write(tmp_path / "n", trials=trials, enrolments={"test": swapped}).digest != made.digest
    # What is rewritten without enrolments has none left.
    assert write(tmp_path / "m").enrolments == {}


@pytest.mark.parametrize(
    ("trial", "models", "said"),
    [
        ((1, "model-a", "u8"), MODELS, "contradict"),
        ((1, "model-b", "u8"), MODELS, "model-b"),
        ((0, "mixed", "u8"), [("mixed", "u6"), ("mixed", "u9")], "several speakers"),
        ((0, "mixed", "u8"), [("mixed", "u77")], "u77 of mixed is not in the corpus"),
        ((0, "u6", "u8"), [("u6", "u7")], "name of an utterance too"),
        ((0, "leak", "u8"), [("leak", "u0")], "also in training"),
    ],
)
def test_an_enrolment_that_would_mislead_is_refused(tmp_path, trial, models, said):
    with pytest.raises(ManifestError, match=said):
        write(tmp_path / "m", trials={"test": [trial]}, enrolments={"test": models})
    with pytest.raises(ManifestError, match="no trial list"):
        write(tmp_path / "m", enrolments={"elsewhere": MODELS})
