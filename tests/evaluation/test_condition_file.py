"""A file of conditions: written once, used again, and refused where it does not fit."""

import json
import shutil
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vgsr.data import manifest
from vgsr.evaluation import condition_file, disturbances
from vgsr.evaluation.condition_file import ConditionsError
from vgsr.evaluation.embedding import trial_utterances


@pytest.fixture(scope="module")
def corpus(tiny):
    return manifest.read(tiny)


@pytest.fixture
def place(musan, impulses, tmp_path):
    """A copy of the recordings that a test may change."""
    shutil.copytree(musan, tmp_path / "musan")
    shutil.copytree(impulses, tmp_path / "rirs")
    return tmp_path


@pytest.fixture
def prepare(corpus, place):
    """`condition_file.prepare` over the copy; the list is `test` unless given."""

    def run(lists=("test",), of=corpus, rirs=True, **given):
        found = disturbances.find(place / "musan", place / "rirs" if rirs else None)
        return condition_file.prepare(of, lists, found, **{"file": None, "folder": place / "kept", **given})

    return run


def test_they_are_drawn_once_for_every_utterance_of_the_lists_and_read_from_then_on(prepare, corpus, place):
    first = prepare()
    drawn = first.draws.to_pylist()
    utterances = trial_utterances(corpus.trials["test"])
    assert len(drawn) == 19 * len(utterances)
    assert {row["utterance_id"] for row in drawn} == set(utterances)
    assert len(first.all) == 20 and first.seed == 0
    stamp = first.path.stat().st_mtime_ns
    again = prepare()
    assert (again.path, again.digest, again.draws) == (first.path, first.digest, first.draws)
    assert first.path.stat().st_mtime_ns == stamp
    assert [file.name for file in (place / "kept").iterdir()] == [first.path.name]


def test_place_and_digest_hang_on_seed_lists_and_recordings_wherever_these_lie(prepare, corpus, place, tmp_path):
    first = prepare()
    assert prepare(seed=0).digest == first.digest
    others = [prepare(seed=1), prepare(("test", "validation")), prepare(rirs=False)]
    assert len({first.path, *(one.path for one in others)}) == 4
    assert len({first.digest, *(one.digest for one in others)}) == 4
    assert prepare(("validation", "test")).digest == others[1].digest
    (tmp_path / "elsewhere").mkdir()
    for folder in ("musan", "rirs"):
        shutil.move(place / folder, tmp_path / "elsewhere" / folder)
    moved = disturbances.find(tmp_path / "elsewhere" / "musan", tmp_path / "elsewhere" / "rirs")
    new = condition_file.prepare(corpus, ("test",), moved, file=None, folder=tmp_path / "new")
    assert new.digest == first.digest and new.path.name == first.path.name


def test_a_file_of_ones_own_is_written_and_used_again_for_fewer_lists(prepare, tmp_path):
    file = tmp_path / "mine" / "shared.parquet"
    both = prepare(("test", "validation"), file=file, seed=7)
    assert both.path == file and both.seed == 7
    assert prepare(("test",), file=file).digest == both.digest
    with pytest.raises(ConditionsError, match=r"shared\.parquet: drawn with seed 7, not 8"):
        prepare(file=file, seed=8)


def test_other_utterances_and_another_corpus_are_refused(prepare, corpus, tmp_path):
    file = tmp_path / "conditions.parquet"
    prepare(("test",), file=file)
    with pytest.raises(ConditionsError, match=r"trial lists test; \d+ utterances of validation are not in it"):
        prepare(("validation",), file=file)
    with pytest.raises(ConditionsError, match=r"another corpus \(digest .*; .* has 0000"):
        prepare(of=replace(corpus, digest="0" * 64), file=file)


def test_a_recording_that_changed_or_went_is_named(prepare, place, tmp_path):
    file = tmp_path / "conditions.parquet"
    before = prepare(file=file)
    (place / "musan" / "noise" / "new.wav").write_bytes((place / "musan" / "noise" / "long.wav").read_bytes())
    assert prepare(file=file).digest == before.digest  # what came later was not drawn from
    music = place / "musan" / "music" / "deep" / "one.wav"
    as_it_was = music.read_bytes()
    music.write_bytes(as_it_was[:-1] + bytes([as_it_was[-1] ^ 1]))
    with pytest.raises(ConditionsError, match=r"drawn over another .*music/deep/one\.wav \(music; SHA-256"):
        prepare(file=file)
    music.write_bytes(as_it_was)
    voice = shutil.move(place / "musan" / "speech" / "voice3.wav", place / "away.wav")
    with pytest.raises(ConditionsError, match=r"drawn over .*voice3\.wav \(babble\), which is not there"):
        prepare(file=file)
    shutil.move(voice, place / "musan" / "speech" / "voice3.wav")
    with pytest.raises(ConditionsError, match=r"reverberation is among its conditions.*--rirs"):
        prepare(file=file, rirs=False)
    shutil.rmtree(place / "musan" / "music")
    with pytest.raises(ConditionsError, match=r"music is among its conditions.*--noise"):
        prepare(file=file)
    # Without a file of one's own they are drawn anew.
    assert prepare().digest != before.digest


def test_a_file_that_was_changed_is_refused(prepare, tmp_path):
    file = tmp_path / "conditions.parquet"
    prepare(file=file)
    table = pq.read_table(file)
    snr = table["snr"].to_pylist()
    place = table.column_names.index("snr")
    changed = table.set_column(place, "snr", pa.array([25.0 if value == 20 else value for value in snr], pa.float64()))
    pq.write_table(changed, file)
    with pytest.raises(ConditionsError, match="not what was drawn"):
        prepare(file=file)
    header = json.loads(table.schema.metadata[b"vgsr.conditions"])
    pq.write_table(
        table.replace_schema_metadata({b"vgsr.conditions": json.dumps({**header, "seed": 3}).encode()}), file
    )
    with pytest.raises(ConditionsError, match="not what was drawn"):
        prepare(file=file)
    pq.write_table(table.replace_schema_metadata(None), file)
    with pytest.raises(ConditionsError, match="not a file of conditions"):
        prepare(file=file)
    file.write_text("nothing")
    with pytest.raises(ConditionsError, match="not a file of conditions"):
        prepare(file=file)


def test_it_says_what_is_left_out_and_what_is_too_short(prepare, corpus, place, tmp_path):
    file = tmp_path / "conditions.parquet"
    shutil.move(place / "musan" / "music", place / "music")
    some = prepare(file=file, rirs=False)
    assert {one.kind for one in some.all} == {"clean", "noise", "babble", "duration"}
    assert any(line.startswith("music: no recordings") for line in some.notes())
    shutil.move(place / "music", place / "musan" / "music")
    again = prepare(file=file, rirs=False)
    assert any(line.startswith("music: not among the conditions of") for line in again.notes())
    lengths = dict(zip(*(corpus.utterances[column].to_pylist() for column in ("utterance_id", "seconds")), strict=True))
    short = {
        level: sum(lengths[name] < level for name in trial_utterances(corpus.trials["test"])) for level in (1, 2, 3)
    }
    assert short[3] > 0
    for level, count in short.items():
        said = [line for line in again.notes() if line.startswith(f"duration {level} s: {count} of ")]
        assert bool(said) == bool(count)


def test_names_that_stand_for_several_utterances_are_drawn_for_by_those(prepare, corpus):
    trials = corpus.trials["test"]
    first, *others = dict.fromkeys(trials["test"].to_pylist())
    several = pa.table({"label": pa.array([1, 0], pa.int8()), "enrol": ["m", "m"], "test": [first, first]})
    enrolments = {"several": pa.table({"enrol": ["m", "m"], "utterance_id": others[:2]})}
    other = replace(corpus)
    vars(other).update(trials={"several": several}, enrolments=enrolments)  # as if they had been read
    found = prepare(("several",), of=other)
    assert set(found.draws["utterance_id"].to_pylist()) == {first, *others[:2]}
