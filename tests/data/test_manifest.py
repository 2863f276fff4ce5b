"""Manifests: complete, checked, and the same digest wherever and in whatever order they are written."""

import json
import pickle
import random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr import storage
from vgsr.data import manifest, tables
from vgsr.data.manifest import UTTERANCES, ManifestError, Problem, content_digest


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


def test_digests_are_those_of_earlier_versions(tmp_path):
    """What figures and checkpoints name must not change: these two are of the version before tables were streamed."""
    known = "36592f7c34d9e77984af693d2b762d1782ae65276b77f173e2247fa710fe2e5e"
    assert write(tmp_path / "m").digest == known
    measured = rows()
    measured[3]["speech_snr"], measured[4]["speech_dnsmos"] = 12.5, 3.25
    trials = {"test": [(0, "model-a", "u8"), (1, "u-model", "u9"), (1, "u6", "u7")]}
    faces = [{"face_id": "f1", "speaker": "p0", "session": "s", "uri": "a.jpg"}]
    more = {"faces": faces, "problems": [Problem("x", "y")], "enrolments": {"test": MODELS}}
    known = "90d963bd8b2342f904618ba32955f3c9582d5e060b2ca861c8f4bd18aed16f10"
    assert write(tmp_path / "n", measured, trials, **more).digest == known


@given(
    signals=st.lists(st.one_of(st.none(), st.floats(0, 9, width=32)), min_size=10, max_size=10),
    order=st.permutations(range(10)),
)
def test_the_way_that_rows_come_does_not_matter(signals, order):
    made = [{**row, "speech_snr": value, "extra": 1} for row, value in zip(rows(), signals, strict=True)]
    shuffled = [made[place] for place in order]
    table = pa.Table.from_pylist(shuffled, schema=UTTERANCES)
    ways = (made, shuffled, (row for row in shuffled), table, pa.concat_tables([table.slice(0, 4), table.slice(4)]))
    found = [tables.table(rows, UTTERANCES, "utterance_id") for rows in ways]
    assert all(one.to_pylist() == found[0].to_pylist() for one in found)
    assert len({content_digest({"utterances": one}) for one in found}) == 1


def test_some_columns_of_some_utterances(tmp_path):
    made = write(tmp_path / "m")
    assert made.rows_of(["u9", "u0", "u9"], ["seconds", "speaker"]).to_pylist() == [
        {"seconds": 2.0, "speaker": f"p{number}"} for number in (4, 0, 4)
    ]
    assert made.split("test", ["speaker"])["speaker"].to_pylist() == ["p3", "p3", "p4", "p4"]
    assert made.split("validation").schema.equals(UTTERANCES) and not len(made.split("validation"))
    with pytest.raises(ManifestError, match="1 of 2 utterances are not in the manifest"):
        made.rows_of(["u1", "nobody"], ["uri"])


def test_other_processes_get_it_without_its_tables(tmp_path):
    made = write(tmp_path / "m")
    small = len(pickle.dumps(made))
    assert len(made.utterances) == 10 and len(made.trials["test"]) == 2
    sent = pickle.dumps(made)
    assert len(sent) == small and pickle.loads(sent) == made
    assert pickle.loads(sent).utterances.equals(made.utterances)


def test_tables_of_two_versions_are_not_taken_for_a_manifest(tmp_path):
    old = write(tmp_path / "old")
    changed = rows()
    changed[3]["seconds"] = 2.5
    new = write(tmp_path / "new", changed)
    (tmp_path / "new" / "utterances.parquet").replace(tmp_path / "old" / "utterances.parquet")
    with pytest.raises(ManifestError, match=r"utterances\.parquet is not the one .* two versions"):
        manifest.read(tmp_path / "old")
    with pytest.raises(ManifestError, match=r"utterances\.parquet is not the one"):  # it was read before that
        old.split("train")
    with pytest.raises(ManifestError, match=r"there is no utterances\.parquet"):
        manifest.read(new.place)


def test_a_header_of_an_older_version_names_no_files(tmp_path):
    made = write(tmp_path / "m", trials={"one": [(1, "u6", "u7")], "two": [(0, "u6", "u8")]})
    header = json.loads((tmp_path / "m" / "manifest.json").read_text())
    del header["files"]
    (tmp_path / "m" / "manifest.json").write_text(json.dumps(header))
    read = manifest.read(tmp_path / "m")
    assert read.digest == made.digest and list(read.trials) == ["one", "two"] and read.utterances.to_pylist() == rows()


def test_on_s3_it_is_the_same(s3, tmp_path):
    place = f"{s3.place}/corpora/mine"
    made = write(place, root=f"{place}/audio", problems=[Problem("bad.wav", "empty file")])
    here = write(tmp_path / "m", problems=[Problem("bad.wav", "empty file")])
    read = manifest.read(place)
    assert made.digest == read.digest == here.digest and read.shards is None
    assert read.utterances.equals(here.utterances) and read.named_trials("test").equals(here.named_trials("test"))
    assert read.root == "audio" and read.location == f"{place}/audio" and read.file("1.wav") == f"{place}/audio/1.wav"
    assert write(f"{s3.place}/b", root=f"{s3.place}/b").file("1.wav") == f"{s3.place}/b/1.wav"
    assert write(f"{s3.place}/c", root=tmp_path).file("1.wav") == str(tmp_path / "1.wav")
    assert write(tmp_path / "d", root=f"{s3.place}/else").file("1.wav") == f"{s3.place}/else/1.wav"
    with pytest.raises(ManifestError, match=rf"{place}: there is no trial list 'tset'"):
        read.named_trials("tset")


def test_a_write_to_s3_that_breaks_off_leaves_no_manifest(s3, monkeypatch):
    write(f"{s3.place}/m", trials={"old": [(1, "u6", "u7")]})
    put = storage.put

    def broken(file, place):
        if "trials" in place:
            raise storage.StorageError("the network is gone")
        put(file, place)

    monkeypatch.setattr(storage, "put", broken)
    changed = rows()
    changed[3]["seconds"] = 2.5
    with pytest.raises(storage.StorageError):
        write(f"{s3.place}/m", changed)
    with pytest.raises(ManifestError, match="not a manifest"):
        manifest.read(f"{s3.place}/m")


def test_an_upload_over_another_is_noticed(s3, tmp_path):
    place = f"{s3.place}/m"
    before = write(place)
    changed = rows()
    changed[3]["seconds"] = 2.5
    write(tmp_path / "m", changed)
    storage.put(tmp_path / "m" / "utterances.parquet", f"{place}/utterances.parquet")
    for read in (lambda: manifest.read(place), lambda: before.split("train")):
        with pytest.raises(ManifestError, match="two versions"):
            read()
    assert write(place, changed, trials={"new": [(1, "u6", "u7")]}).digest == manifest.read(place).digest
    assert list(manifest.read(place).trials) == ["new"]


def test_shards_beside_the_tables_are_seen(tmp_path):
    write(tmp_path / "m")
    (tmp_path / "m" / "shards").mkdir()
    assert manifest.read(tmp_path / "m").shards is None
    (tmp_path / "m" / "shards" / "index.parquet").write_bytes(b"")
    assert manifest.read(tmp_path / "m").shards == str(tmp_path / "m" / "shards")


def test_the_folder_can_be_moved_with_its_audio(tmp_path):
    write(tmp_path / "m")
    (tmp_path / "m").rename(tmp_path / "n")
    moved = manifest.read(tmp_path / "n")
    assert moved.file("1.wav") == str(tmp_path / "n" / "1.wav")


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
