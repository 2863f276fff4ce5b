"""Score files: round trips, the field's forms, and mistakes in them."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vgsr.evaluation import score_files, score_texts
from vgsr.evaluation.score_files import SCORES, ScoreFileError, align, read, write

# No space or control character that separates columns or lines, and no mark of the byte order, which begins a file.
NAMES = st.text(
    st.characters(
        exclude_categories=("Cc", "Cs", "Z"),
        include_characters="\x1c\x85\xa0\u2028\"'\\,",
        exclude_characters="\ufeff",
    ),
    min_size=1,
)


def scores(rows):
    """A score table from rows of label, enrol, test, score; the speakers are the first letters."""
    rows = list(rows)
    return pa.table(
        [
            pa.array([label for label, *_ in rows], pa.int8()),
            pa.array([enrol for _, enrol, _, _ in rows], pa.string()),
            pa.array([test for _, _, test, _ in rows], pa.string()),
            pa.array([enrol[:1] for _, enrol, _, _ in rows], pa.string()),
            pa.array([test[:1] for _, _, test, _ in rows], pa.string()),
            pa.array([score for *_, score in rows], pa.float64()),
        ],
        schema=SCORES,
    )


def as_text(table):
    """The table as a text can hold it."""
    nulls = pa.nulls(len(table), pa.string())
    return table.set_column(3, "enrol_speaker", nulls).set_column(4, "test_speaker", nulls)


@given(
    trials=st.lists(
        st.tuples(st.integers(0, 1), NAMES, NAMES, st.floats(allow_nan=False, allow_infinity=False)),
        min_size=1,
        unique_by=lambda row: row[1:3],
    )
)
@settings(max_examples=100, deadline=None)
def test_a_table_comes_back_exactly_as_text_and_as_parquet(tmp_path_factory, trials):
    folder, table = tmp_path_factory.mktemp("scores"), scores(trials)
    write(folder / "list.parquet", table)
    assert read(folder / "list.parquet").equals(table)
    write(folder / "list.score", table)
    assert read(folder / "list.score", "enrol test score label").equals(as_text(table))
    unlabelled = table.set_column(0, "label", pa.nulls(len(table), pa.int8()))
    write(folder / "list.txt", unlabelled)
    assert read(folder / "list.txt", "enrol test score").equals(as_text(unlabelled))


EXPECTED = [(1, "id1/a.wav", "id1/b.wav", 0.83718), (0, "id1/a.wav", "id2/c.wav", -1e-05)]


@pytest.mark.parametrize(
    ("labelled", "text"),
    [
        (True, "id1/a.wav id1/b.wav 0.83718 target\nid1/a.wav id2/c.wav -0.00001 nontarget\n"),
        (True, "id1/a.wav id1/b.wav 1 0.83718\nid1/a.wav id2/c.wav 0 -1e-5\n"),
        (True, "id1/a.wav id1/b.wav target 0.83718\nid1/a.wav id2/c.wav nontarget -0.00001\n"),
        (True, "id1/a.wav id1/b.wav 0.83718 target 2.7 3.1 0.4 0.5\nid1/a.wav id2/c.wav -1E-05 nontarget 1 1 0 0\n"),
        (False, "id1/a.wav id1/b.wav 0.83718\nid1/a.wav id2/c.wav -0.00001\n"),
        (False, "0.83718 id1/a.wav id1/b.wav\n-0.00001 id1/a.wav id2/c.wav\n"),
        (False, "id1/a.wav\tid1/b.wav\t0.83718\r\nid1/a.wav\tid2/c.wav\t-.00001"),
        (False, "\ufeff0.83718 id1/a.wav id1/b.wav\n-0.00001 id1/a.wav id2/c.wav\n"),
        (False, " id1/a.wav  id1/b.wav 0.83718 \nid1/a.wav id2/c.wav   -0.00001\n\n"),
    ],
)
def test_the_forms_of_the_field_are_told_apart(tmp_path, labelled, text):
    (tmp_path / "list.score").write_bytes(text.encode())
    rows = [(label if labelled else None, *rest) for label, *rest in EXPECTED]
    assert read(tmp_path / "list.score").equals(as_text(scores(rows)))


def test_what_wespeaker_and_speechbrain_write_is_read(tmp_path):
    # wespeaker/bin/score.py, wespeaker/bin/score_norm.py (commit dfa741957e5c11f477623b6e583d67d0af25ee88) and
    # recipes/VoxCeleb/SpeakerRec/speaker_verification_cosine.py of SpeechBrain (commit
    # 9c826ef3937bac885c8a6ca86c6889a30f256fb5) wrote these lines about the trials of test_cohort.py.
    for text, expected in (
        ("a b 0.83718 target\na c -0.06382 nontarget\nd b -0.87556 nontarget\n", [0.83718, -0.06382, -0.87556]),
        (
            "a b 1.03545 target 2.7857 3.1559 0.4799 0.5420\na c -1.78538 nontarget 2.7857 3.6000 0.4799 0.5620\n"
            "d b -3.96446 nontarget 4.2849 3.1559 0.3663 0.5420\n",
            [1.03545, -1.78538, -3.96446],
        ),
        ("a b 1 0.533349\na c 0 -3.031731\nd b 0 -14.916512\n", [0.533349, -3.031731, -14.916512]),
    ):
        (tmp_path / "list.score").write_text(text)
        table = read(tmp_path / "list.score")
        assert table.select(["label", "enrol", "test"]).to_pylist() == [
            {"label": 1, "enrol": "a", "test": "b"},
            {"label": 0, "enrol": "a", "test": "c"},
            {"label": 0, "enrol": "d", "test": "b"},
        ]
        assert table["score"].to_pylist() == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "a b 0 1\n",
            r"line 1: 'a b 0 1' could be 'enrol test score label' .*, 'enrol test label score' .*name its form",
        ),
        ("1 2 0.5\n", r"line 1: '1 2 0\.5' could be 'enrol test score' \(Kaldi\), 'score enrol test' \(VoxSRC\)"),
        ("1 a b\n0 a c\n", r"line 1: '1 a b' could be .*'label enrol test' \(a trial list, which has no scores\)"),
        ("a b target\n", r"line 1: 'a b target' has none of the forms"),
        ("a,b,0.5\n", r"line 1: 'a,b,0\.5' has none of the forms"),
        ("a b nan\n", r"line 1: 'a b nan' has none of the forms"),
        ("a b 0.5\na c\n", r"line 2: 2 columns instead of 3 \(enrol test score\)"),
        ("a b 0.5\na c 0.5 target\n", "line 2: 4 columns instead of 3"),
        ("a b 0.5\n\na c 0.5\n", "line 2: 1 columns instead of 3"),
        ("a b 0.5\na c nan\n", "line 2: the score 'nan' is not a finite number"),
        ("a b 0.5\na c -inf\n", "line 2: the score '-inf' is not a finite number"),
        ("a b 0.5\na c 1e999\n", "line 2: the score '1e999' is not a finite number"),
        ("a b 0.5\na c 0,5\n", "line 2: the score '0,5' is not a finite number"),
        ("a b 0.5 target\na c 0.5 impostor\n", "line 2: the label 'impostor' is none of 0, 1, nontarget, target"),
        (
            "a b 0.5\na c 0.25\na d 1\na c 0.5\n",
            r"line 4: the trial a c has the score 0\.5, but in line 2 it has 0\.25",
        ),
        ("a b 0\nc d 0\nc d 1\na b 1\n", r"line 3: the trial c d has the score 1\.0, but in line 2 it has 0\.0"),
        ("a b 0.5 target\na b 0.5 nontarget\n", "line 2: the trial a b has the label 0, but in line 1 it has 1"),
        ("\n \n", "there is no score in it"),
    ],
)
def test_a_mistake_is_told_with_its_line(tmp_path, text, problem):
    (tmp_path / "list.score").write_text(text)
    with pytest.raises(ScoreFileError, match=rf"list\.score(,|:) {problem}"):
        read(tmp_path / "list.score")


def test_a_mistake_in_the_middle_of_a_long_file_is_told_with_its_line(tmp_path):
    lines = [f"speaker{i}/a speaker{i}/b 0.{i}\n" for i in range(60_000)]
    lines[43_455] = "speaker/a 0.5\n"
    (tmp_path / "list.score").write_text("".join(lines))
    with pytest.raises(ScoreFileError, match="line 43456: 2 columns instead of 3"):
        read(tmp_path / "list.score")


def test_a_file_that_is_none_is_told(tmp_path):
    for name in ("gone.score", "gone.parquet"):
        with pytest.raises(ScoreFileError, match=f"{name}: there is no such file"):
            read(tmp_path / name)
    (tmp_path / "text.parquet").write_text("a b 0.5\n")
    with pytest.raises(ScoreFileError, match=r"text\.parquet: cannot be read as a score file"):
        read(tmp_path / "text.parquet")
    (tmp_path / "latin.score").write_bytes("a b 0.5\nJosé b 0.5\n".encode("latin-1"))
    with pytest.raises(ScoreFileError, match=r"latin\.score, line 2: not UTF-8"):
        read(tmp_path / "latin.score")
    (tmp_path / "list.score").write_text("a b 0.5\n")
    with pytest.raises(ScoreFileError, match="'enrol score' is no form of scores; the forms are 'enrol test score'"):
        read(tmp_path / "list.score", "enrol score")


def test_an_ambiguous_file_is_read_in_the_form_that_is_named(tmp_path):
    (tmp_path / "list.score").write_text("1 2 0\n")
    found = {form: read(tmp_path / "list.score", form).to_pylist()[0] for form in list(score_texts.FORMS)[:2]}
    assert [found["enrol test score"][name] for name in ("enrol", "test", "score")] == ["1", "2", 0.0]
    assert [found["score enrol test"][name] for name in ("enrol", "test", "score")] == ["2", "0", 1.0]


def test_a_trial_may_be_there_twice_with_one_score(tmp_path):
    (tmp_path / "list.score").write_text("a b 0.5\na c 0.25\na b 0.50\n")
    assert read(tmp_path / "list.score")["score"].to_pylist() == [0.5, 0.25, 0.5]


@pytest.mark.parametrize(
    ("column", "values", "problem"),
    [
        ("score", pa.array([0.5, None]), "row 2: no finite score"),
        ("score", pa.array([0.5, np.nan]), "row 2: no finite score"),
        ("enrol", pa.array([None, "a"]), "row 1: no enrolment"),
        ("test", pa.array(["b", None]), "row 2: no test"),
        ("label", pa.array([1, 2]), "row 2: a label other than 0 and 1"),
    ],
)
def test_a_parquet_file_with_a_bad_cell_is_told_with_its_row(tmp_path, column, values, problem):
    table = scores([(1, "a", "b", 0.5), (0, "a", "c", 0.25)])
    position = table.schema.get_field_index(column)
    pq.write_table(table.set_column(position, column, values), tmp_path / "list.parquet")
    with pytest.raises(ScoreFileError, match=rf"list\.parquet, {problem}"):
        read(tmp_path / "list.parquet")


def test_a_parquet_file_of_another_system_needs_no_more_than_names_and_scores(tmp_path):
    pq.write_table(
        pa.table({"test": ["b"], "enrol": ["a"], "score": pa.array([1], pa.int32())}), tmp_path / "x.parquet"
    )
    assert read(tmp_path / "x.parquet").equals(as_text(scores([(None, "a", "b", 1.0)])))
    pq.write_table(pa.table({"enrol": ["a"], "score": [0.5]}), tmp_path / "x.parquet")
    with pytest.raises(ScoreFileError, match=r"lacks test; it has the columns enrol, score"):
        read(tmp_path / "x.parquet")


def test_what_a_text_cannot_hold_is_not_written(tmp_path):
    with pytest.raises(ScoreFileError, match=r"2 ids are empty or hold white space: 'a b', ''\. Rename"):
        write(tmp_path / "list.score", scores([(1, "a b", "c", 0.5), (1, "", "c", 0.5)]))
    with pytest.raises(ScoreFileError, match="1 of 2 trials have an empty cell"):
        write(tmp_path / "list.score", scores([(1, "a", "c", 0.5), (None, "b", "c", 0.5)]))
    assert not list(tmp_path.iterdir())


def trials(rows):
    labels, enrol, test = zip(*rows, strict=True)
    return pa.table({"label": pa.array(labels, pa.int8()), "enrol": pa.array(enrol), "test": pa.array(test)})


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_scores_come_in_the_order_of_the_trial_list(seed):
    rng = np.random.default_rng(seed)
    names = [f"u{i}" for i in range(6)]
    known = {(a, b): (int(rng.integers(0, 2)), rng.normal()) for a in names for b in names if rng.random() < 0.7}
    known[("u0", "u0")] = (1, 0.5)
    pairs = list(known)
    written = [pairs[i] for i in rng.permutation(len(pairs))] + [pairs[0]]  # one of them twice
    asked = [pairs[i] for i in rng.integers(0, len(pairs), 10)]
    found = align(
        scores((known[pair][0], *pair, known[pair][1]) for pair in written), trials((known[p][0], *p) for p in asked)
    )
    assert found.scores.tolist() == [known[pair][1] for pair in asked]
    assert found.superfluous == len(set(pairs) - set(asked))


def test_trials_without_a_score_are_named_beside_the_names_that_there_are():
    table = scores([(1, "a", "b", 0.5), (0, "a", "c", 0.25)])
    wanted = trials([(1, "a", "b"), (1, "a.wav", "b.wav"), (0, "c", "a"), (0, "b", "c")])
    with pytest.raises(
        ScoreFileError,
        match=r"3 of 4 trials have no score: a\.wav b\.wav, c a, b c\. The scores are of trials such as a b, a c",
    ) as caught:
        align(table, wanted)
    assert caught.value.names == ["a.wav b.wav", "c a", "b c"]
    with pytest.raises(ScoreFileError, match=r"1 of 1 trials have no score: d x\."):
        align(scores([(1, "a", "b", 0.5), (0, "a", "c", 0.25), (0, "d", "b", 0.1)]), trials([(0, "d", "x")]))
    with pytest.raises(ScoreFileError, match="1 of 1 trials have no score"):
        align(scores([]), trials([(1, "a", "b")]))


def test_labels_must_be_those_of_the_trial_list():
    table = scores([(1, "a", "b", 0.5), (None, "a", "c", 0.25), (0, "b", "c", 0.1)])
    assert align(table, trials([(0, "b", "c"), (1, "a", "c"), (1, "a", "b")])).scores.tolist() == [0.1, 0.25, 0.5]
    with pytest.raises(ScoreFileError, match=r"2 trials are of the same speaker in the trial list and .*: a b, b c$"):
        align(table, trials([(0, "a", "b"), (1, "b", "c"), (1, "a", "c")]))


def test_the_schema_is_that_of_the_contract():
    assert SCORES.names == ["label", "enrol", "test", "enrol_speaker", "test_speaker", "score"]
    assert score_files.SCORES.field("label").type == pa.int8()
    assert SCORES.field("score").type == pa.float64()
