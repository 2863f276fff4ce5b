"""The calls do the same on this machine and on S3."""

import pickle
from pathlib import Path

import pytest
from boto3.s3.transfer import TransferConfig
from pyarrow import fs

from vgsr import storage
from vgsr.storage import StorageError
from vgsr.storage import s3 as module

NAMES = [
    "plain.bin",
    "deep/er/file",
    "with space.txt",
    "per%20cent%.wav",
    "a#b?c&d=e+f.parquet",
    "Åsa/日本.flac",
    "é|ñ.tar.gz",
    "quote'\"s;[x]{y}~!$,@",
]


@pytest.mark.parametrize("name", NAMES)
def test_what_is_put_is_read(root, name, tmp_path):
    place, content = storage.join(root, name), bytes(range(256)) * 3
    assert storage.stat(place) is None
    storage.put_bytes(content, place)
    assert storage.stat(place).size == 768
    assert storage.read_bytes(place) == content
    assert storage.local(place).read_bytes() == content
    assert storage.local(place).suffix in ("", Path(name).suffix)
    assert list(storage.listing(root)) == [name]
    storage.get(place, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == content
    storage.delete(place)
    storage.delete(place)
    assert storage.stat(place) is None and storage.listing(root) == {}


def test_ranges(root):
    place, content = storage.join(root, "r"), bytes(range(100))
    storage.put_bytes(content, place)
    for start, length in ((0, 1), (0, 100), (99, 1), (17, 20), (5, None), (0, None), (100, None), (300, None), (4, 0)):
        wanted = content[start:] if length is None else content[start : start + length]
        assert storage.read_bytes(place, start, length) == wanted
    for start, length, ends in ((0, 101, "after 100 bytes"), (90, 20, "after 100 bytes"), (200, 5, "has no byte 200")):
        with pytest.raises(StorageError, match=rf"/r: .*{ends}, {start + length} were expected"):
            storage.read_bytes(place, start, length)


def test_listings_go_deep_and_know_no_neighbours(root):
    for name in ("a/1", "a/b/2", "ab", "a.txt", "c/3"):
        storage.put_bytes(name.encode(), storage.join(root, name))
    assert list(storage.listing(storage.join(root, "a"))) == ["1", "b/2"]
    assert list(storage.listing(storage.join(root, "a/"))) == ["1", "b/2"]
    assert list(storage.listing(root)) == ["a.txt", "a/1", "a/b/2", "ab", "c/3"]
    assert storage.listing(storage.join(root, "none")) == {}
    assert storage.names(root) == ["a", "a.txt", "ab", "c"]
    assert storage.names(storage.join(root, "none")) == [] == storage.names(storage.join(root, "ab"))
    found = storage.listing(root)
    assert found["a/b/2"].size == 5 and found["a/b/2"] == storage.stat(storage.join(root, "a/b/2"))
    storage.delete(storage.join(root, "c"))
    assert "c/3" in storage.listing(root)
    assert storage.stat(storage.join(root, "a")) is None


def test_a_stamp_changes_with_the_content(root):
    place = storage.join(root, "f")
    storage.put_bytes(b"one", place)
    before = storage.stat(place)
    assert storage.stat(place) == before
    storage.put_bytes(b"two", place)
    assert storage.stat(place).size == before.size and storage.stat(place) != before
    assert storage.local(place).read_bytes() == b"two"


def test_what_is_missing_is_named(root, tmp_path):
    place = storage.join(root, "none.wav")
    for call in (storage.read_bytes, storage.local, lambda place: storage.get(place, tmp_path / "copy")):
        with pytest.raises(StorageError, match=r"none\.wav: ") as caught:
            call(place)
        assert "ries" not in str(caught.value)  # it was asked once
    with pytest.raises(StorageError, match="nothing: there is no such file"):
        storage.put(tmp_path / "nothing", place)
    assert storage.listing(root) == {} and not (tmp_path / "copy").exists()


def test_a_file_is_there_when_its_writer_has_ended(root, tmp_path):
    place = storage.join(root, "deep/table.parquet")
    with storage.written(place) as path:
        path.write_text("half")
        assert path.suffix == ".parquet" and storage.stat(place) is None and storage.listing(root) == {}
        path.write_text("whole")
    assert storage.read_bytes(place) == b"whole" and not path.exists()
    with pytest.raises(ZeroDivisionError), storage.written(place) as path:
        path.write_text("other")
        raise ZeroDivisionError
    assert storage.read_bytes(place) == b"whole" and not path.exists()
    (tmp_path / "up").write_text("file")
    storage.put(tmp_path / "up", place)
    assert storage.read_bytes(place) == b"file" and list(storage.listing(root)) == ["deep/table.parquet"]


def test_an_empty_file(root, tmp_path):
    place = storage.join(root, "empty")
    storage.put_bytes(b"", place)
    assert storage.read_bytes(place) == b"" == storage.local(place).read_bytes() and storage.stat(place).size == 0
    storage.get(place, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == b""


def test_pyarrow_reads_what_was_put_and_still_after_a_pickle(root):
    place = storage.join(root, "a b/é%#.bin")
    storage.put_bytes(b"content", place)
    system, path = storage.filesystem(place)
    for one in (system, pickle.loads(pickle.dumps(system))):
        assert one.open_input_file(path).read() == b"content"
        assert [info.size for info in one.get_file_info(fs.FileSelector(path.rpartition("/")[0]))] == [7]


def test_large_objects_go_up_in_parts(s3, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PARTS", TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20))
    content = bytes(range(256)) * 23000  # 5.9 MB
    (tmp_path / "large").write_bytes(content + content)
    storage.put(tmp_path / "large", f"{s3.place}/large")
    assert s3.client.head_object(Bucket=s3.name, Key="large")["ETag"].endswith('-3"')
    assert storage.local(f"{s3.place}/large").read_bytes() == content + content


def test_listings_of_many_pages(faulty, s3, monkeypatch):
    monkeypatch.setattr(module, "PAGE", 3)
    names = [f"p/{number:04d}" for number in range(10)]
    for name in names:
        s3.client.put_object(Bucket=s3.name, Key=name, Body=b"")
    faulty.plan([None, "503", None, "lost"])
    assert list(storage.listing(s3.place)) == names
    assert len(faulty.requests) == 6


def test_folders_that_other_tools_mark_are_no_files(s3):
    s3.client.put_object(Bucket=s3.name, Key="run/", Body=b"")
    s3.client.put_object(Bucket=s3.name, Key="run/sub/", Body=b"")
    assert storage.listing(f"{s3.place}/run") == {} and storage.stat(f"{s3.place}/other") is None


@pytest.mark.parametrize("place", ["s3:/bucket/key", "gs://bucket/key", "https://host/key"])
def test_there_is_no_third_kind_of_place(place):
    with pytest.raises(StorageError, match="s3://BUCKET/KEY"):
        storage.stat(Path(place) if place.startswith("s3") else place)


def test_files_that_are_being_written_are_not_listed(tmp_path):
    with storage.written(tmp_path / "a") as path:
        path.write_text("half")
        assert storage.listing(tmp_path) == {}
        path.with_name(path.name + "0").write_text("left by a killed writer")
    assert list(storage.listing(tmp_path)) == ["a"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="file/x: not written: "):
        storage.put_bytes(b"", tmp_path / "file" / "x")
    source = tmp_path / "source"
    said = rf"target: not written: No such file or directory: {source}"
    with pytest.raises(StorageError, match=said), storage.written(tmp_path / "target") as target:
        target.write_bytes(source.read_bytes())
    with pytest.raises(StorageError, match=r"not read: Is a directory"):
        storage.read_bytes(tmp_path)
