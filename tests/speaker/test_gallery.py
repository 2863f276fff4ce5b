"""The gallery: what is enrolled stays enrolled, once, and a file that cannot be trusted is refused."""

import json
import os
import threading

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import soundfile
from numpy.testing import assert_array_equal

from vgsr import speaker
from vgsr.speaker import gallery
from vgsr.speaker.gallery import GalleryError


@pytest.fixture
def files(spoken, tmp_path):
    """A function of a person's number and takes: wave files."""

    def write(person, takes=2):
        places = [tmp_path / f"{person}-{take}.wav" for take in range(takes)]
        for take, place in enumerate(places):
            soundfile.write(place, spoken(person, 2.0, take), 16000)
        return places

    return write


def test_people_come_back_from_the_file(model, files, tmp_path):
    path = tmp_path / "deep" / "gallery.parquet"
    people, done = gallery.enroll(model, gallery.new(model, "models:/m@champion"), "Änne [b]", files(1))
    assert done.added == [str(file) for file in files(1)] and not done.known and not done.left_out
    people, _ = gallery.enroll(model, people, "Bo", files(2, 1))
    people, _ = gallery.enroll(model, people, "Änne [b]", files(1, 3)[2:])
    gallery.write(path, people)
    back = gallery.read(path)
    assert back.table.equals(people.table) and (back.digest, back.place) == (model.digest, "models:/m@champion")
    assert back.people == {"Änne [b]": ["0", "1", "3"], "Bo": ["2"]}
    assert_array_equal(back.embeddings(), model.embed_all([*files(1), *files(2, 1), files(1, 3)[2]]))
    assert back.table["recording"].to_pylist()[0] == str(files(1)[0]) and back.table["seconds"].to_pylist() == [2.0] * 4
    assert str(back.table.schema.field("embedding").type) == "fixed_size_list<element: float>[16]"
    assert [entry.name for entry in path.parent.iterdir()] == ["gallery.parquet"]


def test_a_recording_counts_once_whatever_it_is_called(model, files, tmp_path):
    one, two = files(1)
    copy = tmp_path / "copy.flac"
    soundfile.write(copy, soundfile.read(one, dtype="int16")[0], 16000)
    people, done = gallery.enroll(model, gallery.new(model, "m"), "anna", [one, one, copy])
    assert (done.added, done.known, done.left_out) == ([str(one)], [str(one), str(copy)], [])
    people, done = gallery.enroll(model, people, "anna", [copy, two])
    assert (done.added, done.known) == ([str(two)], [str(copy)]) and people.table.num_rows == 2
    same, done = gallery.enroll(model, people, "bo", [copy])
    assert not done.added and "enrolled as 'anna'" in done.left_out[0][1] and same.table.equals(people.table)


def test_bad_recordings_are_left_out_and_listed(model, files, spoken, tmp_path):
    (tmp_path / "text.wav").write_text("nothing")
    soundfile.write(tmp_path / "short.wav", spoken(3)[:4000], 16000)
    soundfile.write(tmp_path / "little.wav", np.append(spoken(3)[:9600], np.zeros(16000)), 16000)
    noisy = 0.05 * np.random.default_rng(0).standard_normal(32000)
    good, ticks = files(1), []
    bad = [tmp_path / "text.wav", tmp_path / "none.wav", tmp_path / "short.wav", tmp_path / "little.wav", noisy]
    mixed = [bad[0], good[0], *bad[1:], good[1]]
    people, done = gallery.enroll(model, gallery.new(model, "m"), "anna", mixed, lambda: ticks.append(1))
    assert done.added == [str(file) for file in good] and people.table.num_rows == 2 and len(ticks) == 7
    told = dict(done.left_out)
    assert list(told) == [*(str(file) for file in bad[:4]), "array 6"]
    for reason, part in zip(told.values(), ("unreadable", "no such", "too short", "of speech", "SNR"), strict=True):
        assert part in reason


@pytest.mark.parametrize("name", ["", "  ", " anna", "anna\n", "a\tb"])
def test_a_name_is_something_to_read(model, name):
    with pytest.raises(GalleryError, match="is no name"):
        gallery.enroll(model, gallery.new(model, "m"), name, [])


def test_another_models_gallery_is_refused(model, untrained, files):
    other = speaker.load(untrained(seed=1))
    people, _ = gallery.enroll(other, gallery.new(other, "models:/m/7"), "anna", files(1, 1))
    with pytest.raises(GalleryError, match=r"models:/m/7.*--model.*--gallery"):
        gallery.enroll(model, people, "anna", files(1))
    twin = speaker.load(untrained(seed=1))  # the same weights in another folder
    assert gallery.enroll(twin, people, "anna", files(1))[1].added


def test_a_file_that_is_no_gallery_is_told(model, files, tmp_path):
    path = tmp_path / "gallery.parquet"
    with pytest.raises(GalleryError, match="vgsr enroll"):
        gallery.read(path)
    people, _ = gallery.enroll(model, gallery.new(model, "m"), "anna", files(1))
    gallery.write(path, people)
    whole = path.read_bytes()
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[b"vgsr.gallery"])

    def rewritten(changed, **other):
        said = json.dumps(facts | other).encode()
        pq.write_table(changed.replace_schema_metadata({b"vgsr.gallery": said}), path)

    nan = pa.FixedSizeListArray.from_arrays(pa.array([np.nan] * 32, pa.float32()), 16)
    damages = [
        lambda: path.write_bytes(whole[: len(whole) // 2]),
        lambda: path.write_bytes(b""),
        lambda: pq.write_table(table.replace_schema_metadata(None), path),
        lambda: rewritten(table, format=2),
        lambda: rewritten(table, dimension=8),
        lambda: rewritten(table, dimension="many"),
        lambda: rewritten(table.drop_columns("seconds")),
        lambda: rewritten(table.set_column(4, "embedding", nan)),
        lambda: rewritten(table.set_column(0, "name", pa.array([None, "a"], pa.string()))),
    ]
    for damage in damages:
        damage()
        with pytest.raises(GalleryError, match=r"gallery\.parquet"):
            gallery.read(path)
    path.write_bytes(whole)
    assert gallery.read(path).table.equals(people.table)


def test_a_write_that_fails_leaves_the_old_gallery(model, files, tmp_path, monkeypatch):
    path = tmp_path / "here" / "gallery.parquet"
    people, _ = gallery.enroll(model, gallery.new(model, "m"), "anna", files(1))
    gallery.write(path, people)
    before = path.read_bytes()
    monkeypatch.setattr(pq, "write_table", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        gallery.write(path, people)
    assert path.read_bytes() == before and os.listdir(path.parent) == ["gallery.parquet"]


def test_a_gallery_is_its_owners(model, tmp_path):
    gallery.write(tmp_path / "gallery.parquet", gallery.new(model, "m"))
    assert (tmp_path / "gallery.parquet").stat().st_mode & 0o777 == 0o600


def test_two_enrolments_at_once_wait_for_each_other(tmp_path):
    started, done = threading.Event(), threading.Event()

    def other():
        started.set()
        with gallery.held(tmp_path / "g" / "gallery.parquet"):
            done.set()

    thread = threading.Thread(target=other)
    with gallery.held(tmp_path / "g" / "gallery.parquet"):
        thread.start()
        assert started.wait(60) and not done.wait(0.3)
    assert done.wait(60)
    thread.join()
