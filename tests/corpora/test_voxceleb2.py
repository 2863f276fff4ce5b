"""VoxCeleb2 as published (m4a) and as converted, against what was put there."""

import numpy as np
import pytest
from scipy import signal

from vgsr.corpora import CorpusError, prepare
from vgsr.data import audio

DEV = [f"id0001{n}" for n in range(2, 8)]
TEST = ["id00017", "id00061"]
DEV.remove("id00017")
VIDEOS = ("21Uxsk56VDQ", "_0A-zz9KrTc")
META = "VoxCeleb2 ID ,VGGFace2 ID ,Gender ,Set \n" + "".join(
    f"{name} ,n{name[2:].zfill(6)} ,f ,{part} \n" for names, part in ((DEV, "dev"), (TEST, "test")) for name in names
)
UNMEASURED = {"measure": False, "validation": 0.4}


@pytest.fixture
def tree(tmp_path, say):
    """Builds the corpus: five people in dev and two in test, of two videos each."""

    def build(dev="dev/aac", test="test/aac", ending="m4a", root="vox2"):
        for people, place in ((DEV, dev), (TEST, test)):
            for speaker in people:
                for video in VIDEOS:
                    say(tmp_path / root / place / speaker / video / f"00001.{ending}")
        return tmp_path / root

    return build


def resemblance(voice, wave):
    """The highest correlation of a wave with a part of a voice that is as long."""
    power = np.convolve(voice.astype(np.float64) ** 2, np.ones(len(wave)), "valid")
    return (signal.correlate(voice, wave, "valid") / np.sqrt(power) / np.linalg.norm(wave)).max()


def splits(report):
    rows = report.manifest.utterances.to_pylist()
    return {row["speaker"]: row["split"] for row in rows}


def test_m4a_as_published(tree, tmp_path, spoken):
    root = tree()
    report = prepare("voxceleb2", root, tmp_path / "out", validation=0.4)
    assert {(c.split, c.speakers, c.utterances) for c in report.counts} == {
        ("train", 3, 6),
        ("validation", 2, 4),
        ("test", 2, 4),
    }
    assert set(report.trials) == {"validation", "test"} and report.problems == ()
    rows = report.manifest.utterances.to_pylist()
    assert rows[0]["utterance_id"] == "id00012/21Uxsk56VDQ/00001.wav"
    assert rows[0]["uri"] == "dev/aac/id00012/21Uxsk56VDQ/00001.m4a"
    for row in rows:
        wave = audio.read(root / row["uri"])
        assert row["seconds"] == pytest.approx(1.1, abs=1e-6) and row["sample_rate"] == 16000
        # It is a part of one of the voices that were written, but for what coding did to it.
        assert max(resemblance(voice, wave) for voice in spoken) > 0.9
        assert row["speech_snr"] is not None
    assert [(c.what, c.published, c.found) for c in report.published] == [
        ("VoxCeleb2 dev speakers", 5994, 5),
        ("VoxCeleb2 dev utterances", 1092009, 10),
        ("VoxCeleb2 test speakers", 118, 2),
        ("VoxCeleb2 test utterances", 36237, 4),
    ]
    with pytest.raises(CorpusError, match=r"VoxCeleb2 dev speakers: 5,994 are published, 5 were found"):
        prepare("voxceleb2", root, tmp_path / "strict", strict=True, **UNMEASURED)


def test_converted_recordings_are_read_before_published_ones(tree, tmp_path):
    tree(dev="dev/aac", test="test/aac")
    root = tree(dev="dev/wav", test="vox2_test_wav/wav", ending="wav")
    report = prepare("voxceleb2", root, tmp_path / "out", **UNMEASURED)
    uris = report.manifest.utterances["uri"].to_pylist()
    assert len(uris) == 14 and all(uri.endswith(".wav") for uri in uris)
    assert {p.uri: p.reason for p in report.problems} == {
        "dev/aac": "5 speakers of it are also in dev/wav, which is read",
        "test/aac": "2 speakers of it are also in vox2_test_wav/wav, which is read",
    }
    assert {speaker for speaker, split in splits(report).items() if split == "test"} == set(TEST)


def test_who_tests_is_in_the_table_or_in_the_folder_and_else_said_to_be_unknown(tree, tmp_path):
    root = tree(dev="wav", test="wav", ending="flac")
    report = prepare("voxceleb2", root, tmp_path / "out", **UNMEASURED)
    assert set(splits(report).values()) == {"train", "validation"}
    assert [(p.uri, p.reason.partition(" speakers")[0]) for p in report.problems] == [("vox2_meta.csv", "7")]
    (root / "vox2_meta.csv").write_text(META)
    report = prepare("voxceleb2", root, tmp_path / "out", **UNMEASURED)
    assert {speaker for speaker, split in splits(report).items() if split == "test"} == set(TEST)
    assert report.problems == ()


def test_faces_by_video_by_utterance_and_of_vggface2(tree, tmp_path):
    root = tree()
    (root / "vox2_meta.csv").write_text(META)
    pictures = [
        "dev/jpg/id00012/21Uxsk56VDQ/0000100.jpg",
        "dev/jpg/id00012/21Uxsk56VDQ/0000200.jpg",
        "test/jpg/id00017/21Uxsk56VDQ/00001/0001.jpg",
        "test/jpg/id00017/21Uxsk56VDQ/00002/0001.jpg",
        "vggface2/n000013/0001_01.jpg",
        "faces/id00014/21Uxsk56VDQ.jpg",
    ]
    for name in pictures:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"a picture")
    report = prepare("voxceleb2", root, tmp_path / "out", **UNMEASURED)
    found = {row["uri"]: (row["speaker"], row["session"]) for row in report.manifest.faces.to_pylist()}
    assert found == {
        pictures[0]: ("id00012", "21Uxsk56VDQ"),
        pictures[1]: ("id00012", "21Uxsk56VDQ"),
        pictures[2]: ("id00017", "21Uxsk56VDQ"),
        pictures[3]: ("id00017", "21Uxsk56VDQ"),
        pictures[4]: ("id00013", "vggface"),
        pictures[5]: ("id00014", "vggface"),
    }
    report = prepare("voxceleb2", root, tmp_path / "out", faces_per_video=1, **UNMEASURED)
    assert len(report.manifest.faces) == 4
