"""Somebody else's manifest, its tables and its shards: what they name lies under the root, and is as large as it is."""

import json
import os

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
import soundfile

from vgsr import storage
from vgsr.data import manifest, recordings, shard_index, shards
from vgsr.data.audio import AudioError
from vgsr.data.manifest import ManifestError
from vgsr.data.shard_index import ShardError
from vgsr.data.tables import FACES, UTTERANCES, sha256
from vgsr.storage import StorageError
from vgsr.storage.place import OUTSIDE, OUTSIDE_PATTERN

OUTSIDE_URIS = (
    "../canary.wav",
    "a/../../canary.wav",
    "..",
    "{canary}",
    "file://{canary}",
    "s3://another-bucket/canary.wav",
    "http://127.0.0.1:9/x.wav",
    "0.wav|../canary.wav",
    "0.wav|{canary}",
    "..\\canary.wav",
    "a\0b.wav",
    "a\nb.wav",
    "\x1b[2Ja.wav",
    "../canary.mp4#t=1.5",
)
INSIDE_URIS = ("a/b.wav", "a..b/..c.wav", "ünï/ü.wav", "a b.wav", "x.mp4#t=1.5", "1.wav|2.wav", "C:x", "...")


def row(uri="0.wav", speaker="p"):
    return {
        **{"utterance_id": "u", "speaker": speaker, "session": "s", "uri": uri, "start": 0.0, "seconds": 1.0},
        **{"sample_rate": 16000, "split": "train"},
    }


@pytest.fixture
def downloaded(tmp_path):
    """Makes a manifest as an attacker would: tables and header of any content. Beside it lies a canary."""
    soundfile.write(tmp_path / "canary.wav", np.ones(16000) / 2, 16000)

    def make(uri="0.wav", speaker="p", face="f.png", **header):
        folder = tmp_path / "downloaded"
        folder.mkdir(exist_ok=True)
        uri, face = (text.format(canary=tmp_path / "canary.wav") for text in (uri, face))
        soundfile.write(folder / "0.wav", np.zeros(16000), 16000)
        tables = {
            "utterances": pa.Table.from_pylist([row(uri, speaker)], schema=UTTERANCES),
            "faces": pa.Table.from_pylist(
                [{"face_id": "f", "speaker": "p", "session": "s", "uri": face}], schema=FACES
            ),
            "problems": pa.table({"uri": pa.array([], pa.string()), "reason": pa.array([], pa.string())}),
        }
        for name, table in tables.items():
            pq.write_table(table, folder / f"{name}.parquet")
        said = {"format": 2, "corpus": "c", "synthetic": False, "root": ".", "digest": "0" * 64, **header}
        said.setdefault("files", {f"{name}.parquet": sha256(folder / f"{name}.parquet") for name in tables})
        (folder / "manifest.json").write_text(json.dumps(said))
        return folder

    return make


@pytest.mark.parametrize("uri", OUTSIDE_URIS)
def test_a_file_that_is_not_under_the_root(downloaded, tmp_path, monkeypatch, uri):
    folder = downloaded(uri=uri, face=uri)
    found = manifest.read(folder)
    for opens in ("SoundFile", "info"):
        monkeypatch.setattr(soundfile, opens, lambda *_: pytest.fail("it was opened"))
    ways = (
        lambda: found.utterances,
        lambda: found.faces,
        lambda: found.split("train"),
        lambda: found.rows_of(["u"], ["uri"]),
    )
    for way in ways:
        with pytest.raises(ManifestError, match=rf"{folder}: refused: 1 of its 1 files, .* not under its root"):
            way()
    uri = uri.format(canary=tmp_path / "canary.wav")
    for use in (recordings.read, recordings.probe):  # where no table was read before
        with pytest.raises(AudioError, match="not a path under"):
            use(found, uri)
    with pytest.raises(StorageError, match="not a path under"):
        found.file(uri)


def test_the_rule_is_the_same_for_a_row_and_for_a_table(tmp_path):
    uris = [uri.format(canary=tmp_path) for uri in OUTSIDE_URIS] + list(INSIDE_URIS)
    want = [True] * len(OUTSIDE_URIS) + [False] * len(INSIDE_URIS)
    assert [bool(OUTSIDE.search(uri)) for uri in uris] == want
    assert pc.match_substring_regex(pa.array(uris), OUTSIDE_PATTERN).to_pylist() == want
    assert storage.inside("s3://b/c", "x/a.wav") == "s3://b/c/x/a.wav"


def test_what_would_be_refused_is_not_written_either(tmp_path):
    with pytest.raises(ManifestError, match="not under its root"):
        manifest.write(
            tmp_path / "m",
            **{"corpus": "c", "root": tmp_path, "synthetic": False, "faces": [], "trials": {}, "problems": []},
            utterances=[row("/etc/x.wav")],
        )


@pytest.mark.parametrize(
    "name",
    ["trials/../../../canary.parquet", "trials//etc/x.parquet", "../x.parquet", "/etc/x.parquet", "trials/.x.parquet",
     "trials/a\n.parquet", "trials/\x1b[2J.parquet", "banks/x.parquet", "trials/x.pkl", "utterances.parquet/../x"],
)  # fmt: skip
def test_tables_that_no_manifest_has(downloaded, name):
    good = json.loads((downloaded() / "manifest.json").read_text())["files"]
    folder = downloaded(files={**good, name: None})
    with pytest.raises(ManifestError, match="refused: "):
        manifest.read(folder)


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"root": "../.."}, "its root is"),
        ({"root": "file:///etc"}, "its root is"),
        ({"root": "a\0b"}, "its root is"),
        ({"root": ["/"]}, "its root is"),
        ({"root": ""}, "its root is"),
        ({"corpus": "../../x"}, "a name begins with a letter"),
        ({"corpus": "\x1b[2J"}, "a name begins with a letter"),
        ({"corpus": "x" * 1000}, "a name begins with a letter"),
        ({"digest": "../../x"}, "hexadecimal"),
        ({"files": {"utterances.parquet": "x"}}, "hexadecimal"),
        ({"files": {"utterances.parquet": None}}, "does not name faces.parquet"),
        ({"files": [1]}, "damaged"),
        ({"format": "9" * 1000}, "of another version|of format"),
    ],
)
def test_a_header_of_other_things(downloaded, header, said):
    folder = downloaded(**header)
    with pytest.raises(ManifestError, match=said) as refused:
        manifest.read(folder)
    assert str(folder) in str(refused.value) and len(str(refused.value)) < 1000


def test_a_header_that_is_no_header(downloaded, bounded):
    folder = downloaded()
    for text in ("[" * 100_000, "[1]", "null", "{"):
        (folder / "manifest.json").write_text(text)
        with pytest.raises(ManifestError, match="damaged manifest"):
            manifest.read(folder)
    with (folder / "manifest.json").open("wb") as huge:
        huge.truncate(1 << 40)
    with bounded(100), pytest.raises(StorageError, match=r"manifest\.json: .* bytes; no such file"):
        manifest.read(folder)


def test_its_owner_may_keep_the_corpus_anywhere(downloaded, tmp_path):
    found = manifest.read(downloaded(uri="canary.wav", root=str(tmp_path)))
    assert found.location == str(tmp_path) and len(recordings.read(found, "canary.wav")) == 16000
    link = tmp_path / "downloaded" / "link.wav"
    link.symlink_to(tmp_path / "canary.wav")  # corpora are often made of links; only sound comes out of them
    assert len(recordings.read(manifest.read(downloaded()), "link.wav")) == 16000
    link.unlink()
    link.symlink_to(__file__)
    with pytest.raises(AudioError, match=r"link\.wav: unreadable"):
        recordings.read(manifest.read(downloaded()), "link.wav")


def test_pipes_and_devices_are_not_waited_for(downloaded, bounded):
    folder = downloaded()
    os.mkfifo(folder / "pipe.wav")
    (folder / "zero.wav").symlink_to("/dev/zero")
    for name in ("pipe.wav", "zero.wav"):
        with bounded(100), pytest.raises(AudioError, match="a pipe or a device"):
            recordings.read(manifest.read(folder), name)


@pytest.mark.parametrize(("start", "seconds"), [(float("nan"), 1), (0, float("inf")), (-1, 1), (1e300, 1), (0, -5)])
def test_moments_that_are_none(downloaded, start, seconds):
    with pytest.raises(AudioError, match="there is no part of it"):
        recordings.read(manifest.read(downloaded()), "0.wav", start, seconds)


def test_a_speaker_who_is_two_lines(downloaded):
    with pytest.raises(ManifestError, match=r"a speaker's name, 'anna\\nbert'"):
        _ = manifest.read(downloaded(speaker="anna\nbert")).utterances


def repeated(text, rows):
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (lambda: repeated("x" * (2 << 20), 1000), "a text of 2,097,152 bytes"),
        (lambda: repeated("x" * (1 << 20), 1_000_000), "too long for a file"),
        (lambda: pa.array(["y" * (1 << 16)] * 5000), "not believed"),
    ],
)
def test_tables_that_stand_for_more_than_they_are(downloaded, bounded, column, said):
    folder = downloaded()
    made, file = column(), folder / "utterances.parquet"
    kinds = {name: pa.nulls(len(made), kind) for name, kind in zip(UTTERANCES.names, UTTERANCES.types, strict=True)}
    options = {"dictionary_pagesize_limit": 1 << 28, "store_schema": False, "row_group_size": len(made)}
    table = pa.table({**kinds, "uri": made})
    pq.write_table(table, file, compression="zstd", use_dictionary=pa.types.is_dictionary(made.type), **options)
    del made, table, kinds
    pa.default_memory_pool().release_unused()
    assert file.stat().st_size < 2_000_000
    files = json.loads((folder / "manifest.json").read_text())["files"]
    header = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(
        json.dumps({**header, "files": {**files, "utterances.parquet": sha256(file)}})
    )
    with bounded(), pytest.raises(ManifestError, match=rf"{folder}: damaged manifest .*{said}"):
        _ = manifest.read(folder).utterances


def test_a_pickle_under_another_name_is_no_table(downloaded, bomb):
    import pickle

    folder = downloaded()
    files = json.loads((folder / "manifest.json").read_text())["files"]
    (folder / "faces.parquet").write_bytes(pickle.dumps(bomb))
    (folder / "manifest.json").write_text(
        json.dumps(
            {**json.loads((folder / "manifest.json").read_text()), "files": dict.fromkeys(files)},
        )
    )
    with pytest.raises(ManifestError, match="damaged manifest"):
        manifest.read(folder)


def test_more_rows_than_a_file_holds(tmp_path, bounded):
    pq.write_table(pa.table({"x": np.zeros(20_000_000, np.int8)}), tmp_path / "x.parquet", row_group_size=20_000_000)
    with bounded(100), pytest.raises(pa.ArrowInvalid, match="20,000,000 rows"):
        storage.parquet.table(tmp_path / "x.parquet")


class Foreign(pa.ExtensionType):
    """An extension type that runs code when it is read."""

    ran = False

    def __init__(self):
        super().__init__(pa.string(), "vgsr.foreign")

    def __arrow_ext_serialize__(self):
        return b"payload"

    @classmethod
    def __arrow_ext_deserialize__(cls, storage_type, serialized):
        cls.ran = True
        return cls()


@pytest.mark.parametrize("before", ["", "x", "xy", "xyz", "xyzw"])
def test_extension_types_are_not_made(tmp_path, before):
    pa.register_extension_type(Foreign())
    try:
        column = pa.ExtensionArray.from_storage(Foreign(), pa.array(["a"]))
        table = pa.table({f"{before}c": column}).replace_schema_metadata({"k": before})
        pq.write_table(table, tmp_path / "x.parquet")
        for file in (tmp_path / "x.parquet", (tmp_path / "x.parquet").read_bytes()):
            Foreign.ran = False
            with pytest.raises(pa.ArrowInvalid, match="extension type"):
                storage.parquet.table(file)
            assert not Foreign.ran
        pq.read_table(tmp_path / "x.parquet")
        assert Foreign.ran  # as pyarrow itself does
    finally:
        pa.unregister_extension_type("vgsr.foreign")


@pytest.mark.parametrize(
    ("change", "sizes", "said"),
    [
        ({"length": 1 << 50}, [1000], "past the end"),
        ({"offset": 999}, [1000], "past the end"),
        ({"shard": 7}, [1000], "shard 7 of 1"),
        ({"shard": -1}, [1000], "missing or negative"),
        ({"channels": 0}, [1000], "channels"),
        ({"channels": 30_000}, [1000], "channels"),
        ({"frames": -1}, [1000], "missing or negative"),
        ({}, "x", "no list of numbers"),
        ({}, [2**70], "no list of numbers"),
        ({}, [[["x"]]], "no list of numbers"),
    ],
)
def test_an_index_that_points_past_its_shards(tmp_path, change, sizes, said):
    stretch = {"uri": "a", "start": 0, "samples": 10, "frames": 10, "sample_rate": 16000, "channels": 1, "crc32": 1}
    stretch |= {"offset": 4, "length": 100, "shard": 0, "key": shard_index.key("a"), **change}
    table = pa.Table.from_pylist([stretch], schema=shard_index.INDEX)
    facts = {"format": "1", "sizes": json.dumps(sizes)}
    pq.write_table(table.replace_schema_metadata(facts), tmp_path / "index.parquet")
    (tmp_path / "shard-00000.parquet").write_bytes(b"x" * 1000)
    shards.forget()
    with pytest.raises(ShardError, match=rf"{tmp_path}/index.parquet: damaged .*{said}"):
        shards.recorded(str(tmp_path), "a")


def test_names_in_an_index_are_no_places(tmp_path):
    """A uri is only a key of the index: whatever it is called, what is read is a range of a shard beside it."""
    assert shard_index.shard_name(3) == "shard-00003.parquet"
    assert all("/" not in shard_index.shard_name(number) for number in (0, 10**9))
