"""Faces of VoxCeleb1's speakers, of VGGFace and of its videos, against what was put there."""

import os
from collections import Counter
from itertools import pairwise

import pytest

from vgsr.corpora import CorpusError, prepare
from vgsr.corpora.voxceleb_faces import spread

PEOPLE = {"id10001": "A.J._Buckley", "id10002": "A.R._Rahman", "id10003": "Aamir_Khan", "id11035": "Sammy_Davis_Jr."}
VIDEOS = ("1zcIwhmdeo4", "-abc_DEF123")
UNMEASURED = {"measure": False, "validation": 0.3}


@pytest.fixture
def root(tmp_path, say):
    """Four people of two videos each."""
    root = tmp_path / "vox1"
    for speaker in PEOPLE:
        for video in VIDEOS:
            say(root / "wav" / speaker / video / "00001.wav")
    rows = "".join(f"{speaker}\t{name}\tm\tUSA\tdev\n" for speaker, name in PEOPLE.items())
    (root / "vox1_meta.csv").write_text(f"VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n{rows}")
    (root / "veri_test2.txt").write_text("")
    return root


def reasons(report):
    return {problem.uri: problem.reason for problem in report.problems if problem.uri != "veri_test2.txt"}


def test_faces_of_vggface_are_of_a_person_wherever_they_lie(root, tmp_path):
    faces = tmp_path / "faces"
    for name in (*PEOPLE.values(), "Nobody_Known"):
        (faces / name.rstrip(".")).mkdir(parents=True)
        for number in range(7):
            (faces / name.rstrip(".") / f"{number}.jpg").write_bytes(b"a picture")
    (faces / "Aamir_Khan" / "0.jpg").write_bytes(b"")
    (faces / "Aamir_Khan" / "list.txt").write_text("urls")
    report = prepare("voxceleb1", root, tmp_path / "out", faces=str(faces), **UNMEASURED)
    rows = report.manifest.faces.to_pylist()
    assert Counter(row["speaker"] for row in rows) == Counter(dict.fromkeys(PEOPLE, 7) | {"id10003": 6})
    assert {row["session"] for row in rows}.isdisjoint(VIDEOS)
    assert all(os.path.isfile(report.manifest.file(row["uri"])) for row in rows)
    assert "Sammy_Davis_Jr/0.jpg" in {row["face_id"] for row in rows}
    assert reasons(report) == {
        "faces/Aamir_Khan/0.jpg": "empty file",
        "faces/Aamir_Khan/list.txt": "not a picture that is read (.jpg, .jpeg, .png)",
        "faces/Nobody_Known": "not called like a speaker who has recordings; not read",
    }


def test_frames_are_of_their_video_and_evenly_spread(root, tmp_path):
    for name in PEOPLE.values():
        for video in VIDEOS:
            folder = root / "unzippedFaces" / name / "1.6" / video
            folder.mkdir(parents=True)
            for number in range(13):
                (folder / f"{25 * number:07d}.jpg").write_bytes(b"a picture")
    report = prepare("voxceleb1", root, tmp_path / "out", **UNMEASURED)
    rows = [row for row in report.manifest.faces.to_pylist() if row["speaker"] == "id10001"]
    assert [row["uri"] for row in rows if row["session"] == "1zcIwhmdeo4"] == [
        f"unzippedFaces/A.J._Buckley/1.6/1zcIwhmdeo4/{25 * number:07d}.jpg" for number in (1, 3, 6, 9, 11)
    ]
    assert len(report.manifest.faces) == 5 * 2 * 4 and reasons(report) == {}
    for count, want in ((0, 13), (2, 2), (99, 13)):
        report = prepare("voxceleb1", root, tmp_path / "out", faces_per_video=count, **UNMEASURED)
        assert len(report.manifest.faces) == want * 2 * 4
    with pytest.raises(CorpusError, match="faces_per_video=-1"):
        prepare("voxceleb1", root, tmp_path / "out", faces_per_video=-1, **UNMEASURED)


@pytest.mark.parametrize("size", range(1, 30))
@pytest.mark.parametrize("count", [1, 2, 5, 8])
def test_spread_keeps_as_many_as_asked_with_equal_gaps(size, count):
    kept = spread([str(n) for n in range(size)], count)
    places = [int(n) for n in kept]
    assert len(kept) == min(count, size) and places == sorted(set(places))
    gaps = [after - before for before, after in pairwise(places)]
    assert not gaps or max(gaps) - min(gaps) <= 1
