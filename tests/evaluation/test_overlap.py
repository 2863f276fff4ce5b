"""Who is one person in two corpora, and that nobody is tested on whom a system knows."""

import gzip
from collections import defaultdict

import pytest

from vgsr.corpora import CORPORA
from vgsr.data import manifest as manifests
from vgsr.data.manifest import ManifestError
from vgsr.evaluation.overlap import PUBLISHED, Known, refuse, shared

OPEN = {"folder", "kaldi", "synthetic"}  # corpora that may hold anybody


@pytest.fixture
def tested(tmp_path):
    """Writes a corpus of two utterances a speaker, with a genuine trial of each of `lists`, and enrolments."""

    def write(corpus, lists, enrolments=None):
        people = sorted({speaker for names in lists.values() for speaker in names})
        rows = [
            {
                "utterance_id": f"{speaker}/{number}",
                "speaker": speaker,
                "session": f"{speaker}/{number}",
                "uri": f"{speaker}/{number}.wav",
                "start": 0.0,
                "seconds": 2.0,
                "sample_rate": 16000,
                "split": "test",
            }
            for speaker in people
            for number in range(2)
        ]
        trials = {name: [(1, f"{one}/0", f"{one}/1") for one in names] for name, names in lists.items()}
        for name, pairs in (enrolments or {}).items():
            trials[name] = [(1, enrolled, f"{utterance.partition('/')[0]}/1") for enrolled, utterance in pairs]
        return manifests.write(
            tmp_path / corpus,
            corpus=corpus,
            root=tmp_path,
            synthetic=True,
            utterances=rows,
            faces=[],
            trials=trials,
            problems=[],
            enrolments=enrolments,
        )

    return write


@pytest.mark.parametrize(
    ("trained", "name", "corpus", "other", "told", "namesakes"),
    [
        ("voxceleb1", "id10001", "voxceleb1", "id10001", True, True),
        ("voxceleb1", "id10001", "voxceleb2", "id10001", True, True),
        ("voxceleb1", "id10001", "voxceleb1", "id10002", False, False),
        ("voxceleb1", "id10001", "kaldi", "id10001", True, False),
        ("voxceleb1", "id10001", "folder", "vox1_id10001", True, False),
        ("kaldi", "id10001-1zcIwhmdeo4", "voxceleb1", "id10001", True, False),
        ("folder", "id10001", "mine", "id10001", True, False),
        ("folder", "id10001", "mine", "id100012", False, False),
        ("folder", "vid10001", "mine", "id10001", False, False),
        ("voxceleb2", "id00800", "cnceleb", "id00800", False, False),
        ("cremad", "1001", "librispeech", "1001", False, False),
        ("folder", "speaker1", "folder", "speaker1", True, False),
        ("folder", "speaker1", "ravdess", "speaker1", True, False),
    ],
)
def test_who_is_one_person(tested, trained, name, corpus, other, told, namesakes):
    """told: the names are taken for one person; namesakes: even where they are said to be different people."""
    test = tested(corpus, {"pairs": [other, "nobody"]})
    known = Known(trained, {name, "somebody"}, "this model's training set")
    for said, expected in ((False, told), (True, namesakes)):
        assert shared(known, test, "pairs", said) == [other] * expected
        if expected:
            with pytest.raises(ManifestError, match=rf"in this model's training set \({trained}\).*: {other}"):
                refuse(known, test, ["pairs"], said)
        else:
            refuse(known, test, ["pairs"], said)


def test_the_message_says_what_to_do(tested):
    test = tested("voxceleb1", {"o": ["id10270"], "e": ["id10001", "id10270"], "h": ["id10001"]})
    with pytest.raises(ManifestError) as error:
        refuse(Known("voxceleb1", ["id10001"], "the training set"), test, ["o", "e", "h"])
    text = str(error.value)
    assert "1 of trials 'e': id10001; 1 of trials 'h': id10001" in text and "Test on o alone" in text
    assert "--namesakes" not in text  # they are one person
    with pytest.raises(ManifestError, match="--namesakes"):
        refuse(Known("mine", ["id10001"], "the training set"), test, ["h"])


def test_both_sides_and_those_behind_an_enrolled_name_are_looked_at(tested):
    test = tested("mine", {"all": ["a", "b", "c"]}, {"means": [("a-enroll", "a/0"), ("b-enroll", "b/0")]})
    assert shared(Known("mine", ["a", "c"], "it"), test, "means") == ["a"]
    nontarget = manifests.write(
        test.place + "-2",
        corpus="mine",
        root="/",
        synthetic=True,
        utterances=test.utterances.to_pylist(),
        faces=[],
        trials={"one": [(0, "a/0", "b/0")]},
        problems=[],
    )
    assert [shared(Known("mine", [who], "it"), nontarget, "one") for who in "abc"] == [["a"], ["b"], []]


def test_every_corpus_says_whose_names_its_speakers_have():
    assert set(CORPORA) == PUBLISHED.keys() | OPEN


def test_voxceleb1_by_its_own_lists(shared_data, tested):
    """The published split of the speakers and the published list -O; -E and -H have dev speakers, as its page says."""
    folder = shared_data / "voxceleb1"
    sets = defaultdict(list)
    for line in (folder / "vox1_meta.csv").read_text().splitlines()[1:]:
        fields = line.split("\t")
        sets[fields[4].strip()].append(fields[0])
    assert (len(sets["dev"]), len(sets["test"])) == (1211, 40)
    with gzip.open(folder / "veri_test2.txt.gz", "rt") as file:
        speakers = sorted({side.partition("/")[0] for line in file for side in line.split()[1:]})
    assert speakers == sorted(sets["test"])
    for corpus in ("voxceleb1", "kaldi"):
        test = tested(corpus, {"vox1-o": speakers, "vox1-e": sets["dev"] + sets["test"], "vox1-h": sets["dev"][:1190]})
        known = Known("voxceleb1", sets["dev"], "this model's training set")
        refuse(known, test, ["vox1-o"])
        for name, count in (("vox1-e", "1,211"), ("vox1-h", "1,190")):
            with pytest.raises(ManifestError, match=f"{count} of trials '{name}': id10001"):
                refuse(known, test, [name])
