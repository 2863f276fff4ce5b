"""VoxCeleb1 in each layout it is unpacked in, against what was put there."""

import gzip
import os
from collections import Counter

import pytest

from vgsr.corpora import CorpusError, prepare, voxceleb_meta, voxceleb_trials
from vgsr.data import manifest

DEV = {"id10001": "A.J._Buckley", "id10002": "A.R._Rahman", "id10003": "Aamir_Khan", "id11035": "Sammy_Davis_Jr."}
DEV |= {"id10004": "Aaron_Tveit", "id10005": "Aaron_Yoo"}
TEST = {"id10270": "Eartha_Kitt", "id10271": "Ed_Westwick"}
VIDEOS = ("1zcIwhmdeo4", "-abc_DEF123")
TRIALS = (
    "1 id10270/-abc_DEF123/00001.wav id10270/1zcIwhmdeo4/00002.wav\n"
    "0 id10270/-abc_DEF123/00001.wav id10271/1zcIwhmdeo4/00001.wav\n"
    "1 id10271/-abc_DEF123/00002.wav id10271/1zcIwhmdeo4/00001.wav\n"
)
EVERYBODY = "1 id10001/-abc_DEF123/00001.wav id10001/1zcIwhmdeo4/00002.wav\n" + TRIALS
UNMEASURED = {"measure": False, "validation": 0.3}


def table(people=None):
    rows = [(name, face, "dev") for name, face in DEV.items()] + [(name, face, "test") for name, face in TEST.items()]
    head = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet\n"
    return head + "".join(f"{name}\t{face}\tm\tUSA\t{part}\n" for name, face, part in people or rows)


@pytest.fixture
def tree(tmp_path, say):
    """Builds the corpus: `tree("dev/wav", "test/wav")`, six people in dev and two in test; with the list O cleaned."""

    def build(dev="wav", test="wav", ending="wav"):
        root = tmp_path / "vox1"
        for people, place in ((DEV, dev), (TEST, test)):
            for speaker in people:
                for video in VIDEOS:
                    for number in (1, 2):
                        say(root / place / speaker / video / f"{number:05d}.{ending}")
        (root / "vox1_meta.csv").write_text(table())
        (root / "veri_test2.txt").write_text(TRIALS)
        return root

    return build


def reasons(report):
    return {problem.uri: problem.reason for problem in report.problems}


def column(report, name, **wanted):
    rows = report.manifest.utterances.to_pylist()
    return [row[name] for row in rows if all(row[key] == value for key, value in wanted.items())]


def test_dev_trains_and_test_is_tested_with_the_published_list(tree, tmp_path):
    report = prepare("voxceleb1", tree(), tmp_path / "out", validation=0.3)
    assert {(c.split, c.speakers, c.utterances) for c in report.counts} == {
        ("train", 4, 16),
        ("validation", 2, 8),
        ("test", 2, 8),
    }
    assert set(column(report, "speaker", split="test")) == set(TEST)
    row = next(r for r in report.manifest.utterances.to_pylist() if r["uri"] == "wav/id10001/-abc_DEF123/00002.wav")
    assert row["utterance_id"] == "id10001/-abc_DEF123/00002.wav" and row["session"] == "-abc_DEF123"
    assert row["seconds"] == pytest.approx(1.1) and row["speech_snr"] is not None
    assert set(report.trials) == {"validation", "vox1-o-cleaned"} and report.trials["vox1-o-cleaned"] == (2, 1)
    rows = [f"{r['label']} {r['enrol']} {r['test']}\n" for r in report.manifest.trials["vox1-o-cleaned"].to_pylist()]
    assert "".join(rows) == TRIALS
    assert report.problems == ()


@pytest.mark.parametrize(
    ("dev", "test", "ending"),
    [
        ("dev/wav", "test/wav", "wav"),
        ("vox1_dev_wav/wav", "vox1_test_wav/wav", "wav"),
        ("vox1_dev_wav", "vox1_test_wav", "wav"),
        ("flac", "flac", "flac"),
        (".", ".", "flac"),
    ],
)
def test_the_archives_may_be_unpacked_as_one_likes(tree, tmp_path, dev, test, ending):
    root = tree(dev, test, ending)
    report = prepare("voxceleb1", root, tmp_path / "out", **UNMEASURED)
    want = {f"{s}/{v}/{n:05d}.wav" for s in (*DEV, *TEST) for v in VIDEOS for n in (1, 2)}
    assert set(column(report, "utterance_id")) == want
    assert all((root / uri).is_file() for uri in column(report, "uri"))
    assert report.trials["vox1-o-cleaned"] == (2, 1) and report.problems == ()


def test_everybody_tests_where_that_is_the_purpose(tree, tmp_path):
    root = tree()
    with gzip.open(root / "list_test_all2.txt.gz", "wt") as file:
        file.write(EVERYBODY)
    report = prepare("voxceleb1", root, tmp_path / "out", purpose="test", measure=False)
    assert set(column(report, "split")) == {"test"} and len(column(report, "uri")) == 32
    assert report.trials == {"vox1-o-cleaned": (2, 1), "vox1-e-cleaned": (3, 1)}
    # Where dev trains, the list of all speakers is not taken, and that is said.
    report = prepare("voxceleb1", root, tmp_path / "out", **UNMEASURED)
    assert set(report.trials) == {"validation", "vox1-o-cleaned"}
    assert "purpose=test" in reasons(report)["list_test_all2.txt"]


def test_lists_from_elsewhere_and_none_at_all(tree, tmp_path):
    root = tree()
    (tmp_path / "lists").mkdir()
    (root / "veri_test2.txt").rename(tmp_path / "lists" / "veri_test.txt")
    report = prepare("voxceleb1", root, tmp_path / "out", trials=str(tmp_path / "lists"), **UNMEASURED)
    assert report.trials["vox1-o"] == (2, 1)
    report = prepare("voxceleb1", root, tmp_path / "out", **UNMEASURED)
    assert set(report.trials) == {"validation", "test"}
    assert any("list of ours" in reason for reason in reasons(report).values())
    with pytest.raises(CorpusError, match="vox1-o-cleaned trials: 37,611 are published, 0 were found"):
        prepare("voxceleb1", root, tmp_path / "strict", strict=True, **UNMEASURED)


def test_a_list_is_never_shortened(tree, tmp_path):
    root = tree()
    (root / "veri_test.txt").write_text(TRIALS)
    (root / "wav/id10271/-abc_DEF123/00002.wav").write_bytes(b"")
    (root / "veri_test2.txt").write_text(TRIALS.replace("1 id10271", "yes id10271"))
    report = prepare("voxceleb1", root, tmp_path / "out", **UNMEASURED)
    found = reasons(report)
    assert set(report.trials) == {"validation"}
    assert found["trial list vox1-o"].startswith("1 of its 3 trials name one of 1 utterances that cannot be used")
    assert "id10271/-abc_DEF123/00002.wav" in found["trial list vox1-o"]
    assert "vox1-o-cleaned is left out" in found["veri_test2.txt"]
    assert found["wav/id10271/-abc_DEF123/00002.wav"] == "empty file"


def test_strict_tells_every_difference_and_writes_nothing(tree, tmp_path):
    root = tree()
    report = prepare("voxceleb1", root, tmp_path / "out", **UNMEASURED)
    found = {each.what: (each.published, each.found, each.difference) for each in report.published}
    assert found == {
        "VoxCeleb1 dev speakers": (1211, 6, -1205),
        "VoxCeleb1 dev utterances": (148642, 24, -148618),
        "VoxCeleb1 test speakers": (40, 2, -38),
        "VoxCeleb1 test utterances": (4874, 8, -4866),
        "vox1-o-cleaned trials": (37611, 3, -37608),
        "vox1-o-cleaned target trials": (18802, 2, -18800),
        "vox1-o-cleaned speakers": (40, 2, -38),
        "vox1-o-cleaned utterances": (4708, 4, -4704),
    }
    (root / "wav/id10001/-abc_DEF123/00001.wav").write_text("no audio")
    with pytest.raises(CorpusError) as error:
        prepare("voxceleb1", root, tmp_path / "strict", strict=True, **UNMEASURED)
    assert "VoxCeleb1 dev speakers: 1,211 are published, 6 were found (-1,205)" in str(error.value)
    assert "wav/id10001/-abc_DEF123/00001.wav: unreadable" in str(error.value)
    assert not (tmp_path / "strict").exists()


def test_damaged_and_strange_files_are_listed_and_the_others_read(tree, tmp_path, record, damage):
    root = tree()
    spot = root / "wav" / "id10001" / VIDEOS[0]
    record(spot / "00003.wav", rate=44100, channels=2)
    record(spot / "00004.wav", seconds=0.2)
    (spot / "00005.wav").write_bytes(b"")
    damage(spot / "00006.flac")
    record(spot / "a|b.wav")
    os.rename(spot / "00002.wav", os.path.join(os.fsencode(spot), b"caf\xe9.wav"))
    (spot / "00001.txt").write_text("frames")
    (spot / "00001.mp4").write_text("film")
    (root / "wav" / "id10001" / "notes.md").write_text("hello")
    (root / "wav" / "id19999" / VIDEOS[0]).mkdir(parents=True)
    (root / "vox1_dev_wav" / "id10002" / VIDEOS[0]).mkdir(parents=True)
    report = prepare("voxceleb1", root, tmp_path / "out", validation=0.3)
    place = f"wav/id10001/{VIDEOS[0]}"
    found = reasons(report)
    want = {
        f"{place}/00004.wav": "too short",
        f"{place}/00005.wav": "empty file",
        f"{place}/00006.flac": "",
        f"{place}/a|b.wav": "rename it",
        f"{place}/caf\\xe9.wav": "its name is not UTF-8; rename it",
        f"{place}/00001.mp4": "not audio",
        "wav/id10001/notes.md": "lies in no video's folder",
        "wav/id19999": "vox1_meta.csv does not name this speaker",
        "vox1_dev_wav": "1 speakers of it are also in wav, which is read",
    }
    assert found.keys() == want.keys() and all(part in found[name] for name, part in want.items())
    assert manifest.problems(report.manifest)["uri"].to_pylist() == sorted(want)
    rows = {row["uri"]: row for row in report.manifest.utterances.to_pylist()}
    assert rows[f"{place}/00003.wav"]["sample_rate"] == 44100 and len(rows) == 32


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "vox1_meta.csv: no such file.*meta=PATH"),
        ("name\tset\nid10001\tdev\n", "no column VoxCeleb, VGGFace, Set .it has: name, set."),
        ("", "it has: none"),
        (table([("id10001", "A", "train")]), "vox1_meta.csv:2: set 'train' of id10001"),
    ],
)
def test_a_table_that_is_missing_or_another_is_refused(tree, tmp_path, text, said):
    root = tree()
    (root / "vox1_meta.csv").unlink()
    if text is not None:
        (root / "vox1_meta.csv").write_text(text)
    with pytest.raises(CorpusError, match=said):
        prepare("voxceleb1", root, tmp_path / "out", **UNMEASURED)


def test_options_that_cannot_be_are_refused(tree, tmp_path):
    root = tree()
    with pytest.raises(CorpusError, match="did you mean 'test'"):
        prepare("voxceleb1", root, tmp_path / "out", purpose="tests")
    for option in ("meta", "faces", "trials"):
        with pytest.raises(CorpusError, match=f"nowhere: no such.*{option}="):
            prepare("voxceleb1", root, tmp_path / "out", **{option: str(tmp_path / "nowhere")})
    with pytest.raises(CorpusError, match="says itself who tests"):
        prepare("voxceleb1", root, tmp_path / "out", test=0.2)
    (tmp_path / "empty").mkdir()
    with pytest.raises(CorpusError, match="no idNNNNN/VIDEO"):
        prepare("voxceleb1", tmp_path / "empty", tmp_path / "out")
    elsewhere = root.rename(tmp_path / "moved") / "vox1_meta.csv"
    elsewhere.rename(tmp_path / "who.tsv")
    made = prepare("voxceleb1", tmp_path / "moved", tmp_path / "out", meta=str(tmp_path / "who.tsv"), **UNMEASURED)
    assert made.trials["vox1-o-cleaned"] == (2, 1)


def test_the_published_list_and_table_have_the_published_counts(shared_data, tmp_path, say):
    """The real list and table over a tree of every recording that the list names, all the same."""
    source = shared_data / "voxceleb1"
    with gzip.open(source / "veri_test2.txt.gz", "rt") as file:
        trials = [line.split() for line in file]
    names = {name for _, *sides in trials for name in sides}
    people = voxceleb_meta.read(source / "vox1_meta.csv")
    assert Counter(person.set for person in people.values()) == {"dev": 1211, "test": 40}
    assert {people[name.partition("/")[0]].set for name in names} == {"test"}
    root = tmp_path / "vox1"
    say(tmp_path / "one.wav")
    for name in names:
        file = root / "wav" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        os.link(tmp_path / "one.wav", file)
    where = {"meta": str(source / "vox1_meta.csv"), "trials": str(source)}
    report = prepare("voxceleb1", root, tmp_path / "out", measure=False, **where)
    found = {each.what: each.difference for each in report.published}
    listed = {what: difference for what, difference in found.items() if what.startswith("vox1-o-cleaned")}
    assert len(listed) == 4 and set(listed.values()) == {0}
    assert found["VoxCeleb1 test speakers"] == 0 and found["VoxCeleb1 test utterances"] == len(names) - 4874
    table = report.manifest.trials["vox1-o-cleaned"]
    assert [list(map(str, row.values())) for row in table.to_pylist()] == trials


def test_the_lists_have_the_lengths_that_their_authors_print():
    assert [known.trials for known in voxceleb_trials.LISTS.values()] == [37720, 37611, 581480, 579818, 552536, 550894]
