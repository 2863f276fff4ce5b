"""CN-Celeb's evaluation: what stands in its lists, what is enrolled, and what takes a list away."""

import numpy as np
import pyarrow as pa
import pytest

from vgsr.corpora import CorpusError, cnceleb, prepare
from vgsr.corpora.cnceleb_eval import AVERAGE, CONCAT
from vgsr.data import manifest, recordings
from vgsr.evaluation.protocol import evaluate, of_list
from vgsr.evaluation.scoring import cosine_scores

LISTS = "CN-Celeb_flac/eval/lists"


def ready(root, out, **options):
    return prepare("cnceleb", root, out, **{"join": 3, "validation": 0.4, **options})


def rows_of(report):
    return {row["utterance_id"]: row for row in manifest.read(report.manifest.place).utterances.to_pylist()}


def reasons(report):
    return {(problem.uri, problem.reason) for problem in report.problems}


def test_both_lists_are_written_and_say_how_they_enrol(cnceleb_tree, tmp_path):
    report = ready(cnceleb_tree, tmp_path / "out")
    made = manifest.read(report.manifest.place)
    assert report.trials[AVERAGE] == report.trials[CONCAT] == (3, 7)
    average, concat = (made.named_trials(name) for name in (AVERAGE, CONCAT))
    wanted = [line.split() for line in (cnceleb_tree / LISTS / "trials.lst").read_text().splitlines()]
    assert average.to_pylist() == [{"label": int(label), "enrol": e, "test": t} for e, t, label in wanted]
    assert concat["enrol"].to_pylist() == [f"enroll/{e}.wav" for e, _, _ in wanted]
    assert concat["test"].equals(average["test"]) and concat["label"].equals(average["label"])
    enrolled = {
        "id00800-enroll": ["id00800/singing-01-001.wav", "id00800/vlog-01-002.wav"],
        "id00801-enroll": ["id00801/speech-01-001.wav"],
    }
    assert made.enrolled(AVERAGE) == enrolled and made.enrolled(CONCAT) == {}
    lines = {name: of_list(made, name).line() for name in (AVERAGE, CONCAT)}
    assert " · enrolment mean of 1–2 utterances · " in lines[AVERAGE] and "cnceleb-e-average (10, " in lines[AVERAGE]
    assert " · enrolment 1 recording joined from several · " in lines[CONCAT]
    assert "cnceleb-e-concat (10, " in lines[CONCAT]


def test_scores_of_both_lists(cnceleb_tree, tmp_path):
    made = manifest.read(ready(cnceleb_tree, tmp_path / "out").manifest.place)
    ids = made.utterances["utterance_id"].to_pylist()
    vectors = np.random.default_rng(0).standard_normal((len(ids), 8))
    known = dict(zip(ids, vectors, strict=True))
    for name in (AVERAGE, CONCAT):
        table, enrolled = made.named_trials(name), made.enrolled(name)
        scores = cosine_scores(vectors, ids, table, enrolled)
        for score, row in zip(scores, table.to_pylist(), strict=True):
            a = np.mean([known[part] for part in enrolled.get(row["enrol"], [row["enrol"]])], axis=0)
            b = known[row["test"]]
            assert score == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
        result = evaluate(scores, table["label"].to_numpy(), of_list(made, name))
        assert (result.targets, result.nontargets) == (3, 7)


def test_an_enrolment_of_its_own_or_of_several(cnceleb_tree, tmp_path):
    average = ready(cnceleb_tree, tmp_path / "average", enrolment="average")
    assert average.trials.keys() == {"validation", AVERAGE}
    assert not any(name.startswith("enroll/") for name in rows_of(average))
    concat = ready(cnceleb_tree, tmp_path / "concat", enrolment="concat")
    assert concat.trials.keys() == {"validation", CONCAT} and concat.manifest.enrolments == {}
    with pytest.raises(CorpusError, match=r"enrolment=averag.*did you mean 'average'"):
        ready(cnceleb_tree, tmp_path / "none", enrolment="averag")
    with pytest.raises(CorpusError, match="join=-1"):
        ready(cnceleb_tree, tmp_path / "none", join=-1)


def test_without_its_recording_an_enrolment_is_joined_from_its_utterances(cnceleb_tree, tmp_path):
    (cnceleb_tree / "CN-Celeb_flac" / "eval" / "enroll" / "id00800-enroll.flac").unlink()
    (cnceleb_tree / "CN-Celeb_flac" / "eval" / "enroll" / "id00801-enroll.flac").write_bytes(b"")
    report = ready(cnceleb_tree, tmp_path / "out")
    rows = rows_of(report)
    assert recordings.parts(rows["enroll/id00800-enroll.wav"]["uri"]) == [
        "CN-Celeb_flac/data/id00800/singing-01-001.flac",
        "CN-Celeb_flac/data/id00800/vlog-01-002.flac",
    ]
    assert rows["enroll/id00800-enroll.wav"]["seconds"] == pytest.approx(2.0)
    assert rows["enroll/id00801-enroll.wav"]["uri"] == "CN-Celeb_flac/data/id00801/speech-01-001.flac"
    assert report.trials[CONCAT] == (3, 7)
    found = dict(reasons(report))
    assert found["CN-Celeb_flac/eval/enroll/id00801-enroll.flac"] == "empty file"
    assert "enroll/id00800-enroll.wav is not there" in found["CN-Celeb_flac/eval/lists/trials.lst"]


def test_a_list_that_cannot_be_had_whole_is_left_out(cnceleb_tree, tmp_path):
    (cnceleb_tree / "CN-Celeb_flac" / "eval" / "test" / "id00800-singing-02-001.flac").write_bytes(b"")
    report = ready(cnceleb_tree, tmp_path / "out")
    assert report.trials.keys() == {"validation"} and report.manifest.enrolments == {}
    found = dict(reasons(report))
    assert found["CN-Celeb_flac/eval/test/id00800-singing-02-001.flac"] == "empty file"
    for name in (AVERAGE, CONCAT):
        assert "2 of its 10 trials name one of 1 utterances" in found[f"trial list {name}"]


@pytest.mark.parametrize("gone", [True, False])
def test_an_enrolment_without_one_of_its_utterances_is_none(cnceleb_tree, tmp_path, gone):
    file = cnceleb_tree / "CN-Celeb_flac" / "data" / "id00800" / "vlog-01-002.flac"
    file.unlink() if gone else file.write_bytes(b"")
    report = ready(cnceleb_tree, tmp_path / "out")
    assert report.trials.keys() == {"validation", CONCAT}
    found = dict(reasons(report))
    assert "such as id00800-enroll" in found[f"trial list {AVERAGE}"]
    if gone:
        assert found["CN-Celeb_flac/eval/lists/enroll.map:1"] == "id00800/vlog-01-002.wav is not in data"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("id00800-enroll\n", "line 11 has 1 words"),
        ("id00800-enroll test/id00800-singing-02-001.wav 2\n", "trial 11 has the label '2'"),
        ("caf\xe9 test/x.wav 1\n", "UTF8"),
    ],
)
def test_a_damaged_list_is_refused_before_anything_is_read(cnceleb_tree, tmp_path, line, message):
    with (cnceleb_tree / "CN-Celeb_flac" / "eval" / "lists" / "trials.lst").open("ab") as file:
        file.write(line.encode("latin-1"))
    with pytest.raises(CorpusError, match=message):
        ready(cnceleb_tree, tmp_path / "out")


def test_without_lists_there_is_no_evaluation(cnceleb_tree, tmp_path):
    (cnceleb_tree / "CN-Celeb_flac" / "eval" / "lists" / "trials.lst").unlink()
    report = ready(cnceleb_tree, tmp_path / "out")
    assert report.trials.keys() == {"validation"} and {c.split: c.speakers for c in report.counts}["test"] == 0
    assert "evaluation of CN-Celeb1 is left out" in dict(reasons(report))["CN-Celeb_flac/eval/lists/trials.lst"]


def test_published_counts_are_compared_with_what_can_be_used(cnceleb_tree, tmp_path):
    layout = cnceleb.cnceleb(cnceleb_tree)
    table = pa.table({"label": [1, 0, 0], "enrol": ["a"] * 3, "test": ["b"] * 3})
    counts = {p.what: (p.count, p.of(layout.utterances, {AVERAGE: table})) for p in layout.published}
    assert counts == {
        "CN-Celeb1 training speakers": (797, 4),
        "CN-Celeb1 training utterances": (107_953, 20),
        "CN-Celeb2 training speakers": (1_996, 2),
        "CN-Celeb1 test utterances": (17_777, 5),
        f"{AVERAGE} trials": (3_484_292, 3),
        f"{CONCAT} trials": (3_484_292, 0),
        f"{AVERAGE} target trials": (17_755, 1),
        f"{CONCAT} target trials": (17_755, 0),
    }
