"""Other systems' files: the same figures as for a model that gives these embeddings or scores itself."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from vgsr.data import manifest as manifests
from vgsr.evaluation import peers, score_files, system
from vgsr.evaluation.embedding import trial_utterances
from vgsr.evaluation.score_files import ScoreFileError
from vgsr.evaluation.scoring import ScoringError
from vgsr.evaluation.system import Scoring

P_TARGETS = (0.01, 0.05)


@pytest.fixture(scope="module")
def corpus(tiny):
    return manifests.read(tiny)


def vectors(corpus):
    """An embedding an utterance of the manifest, the same for every call."""
    names = corpus.utterances["utterance_id"].to_pylist()
    speakers = corpus.utterances["speaker"].to_pylist()
    generator = np.random.default_rng(1)
    own = {speaker: generator.normal(size=6) for speaker in sorted(set(speakers))}
    return names, np.stack([own[speaker] + generator.normal(size=6) for speaker in speakers]).astype(np.float32)


def by_model(corpus, lists, how=Scoring()):  # noqa: B008 (frozen)
    names, table = vectors(corpus)
    place = {name: row for row, name in enumerate(names)}

    def embed(manifest, ids):
        return table[[place[one] for one in ids]]

    return system.test(system.prepare(embed, how, corpus), corpus, lists, P_TARGETS)


@pytest.mark.parametrize("kind", ["npz", "parquet"])
@pytest.mark.parametrize("how", [Scoring(), Scoring("as-norm", 4), Scoring("mean", qmf=True)])
def test_embeddings_of_a_file_count_like_a_models(corpus, tmp_path, kind, how):
    names, table = vectors(corpus)
    file = tmp_path / f"peer.{kind}"
    if kind == "npz":
        np.savez(file, ids=np.array(names), embeddings=table)
    else:
        pq.write_table(pa.table({"utterance_id": names, "embedding": list(table)}), file)
    assert peers.holds_embeddings(file)
    (theirs,) = peers.evaluate(file, corpus, (), how, corpus, P_TARGETS)
    (ours,) = by_model(corpus, ["test"], how)
    assert theirs.result == ours.result and theirs.scores == ours.scores
    assert theirs.result.cllr is not None


@pytest.mark.parametrize("name", ["scores.parquet", "scores.txt"])
def test_scores_of_a_file_are_taken_as_they_are(corpus, tmp_path, name):
    (ours,) = by_model(corpus, ["test"])
    score_files.write(tmp_path / name, ours.scores)
    assert not peers.holds_embeddings(tmp_path / name)
    (theirs,) = peers.evaluate(tmp_path / name, corpus, (), Scoring(), corpus, P_TARGETS)
    assert (theirs.result.eer, theirs.result.min_dcf) == (ours.result.eer, ours.result.min_dcf)
    assert theirs.scores == ours.scores  # the speakers come from the manifest
    assert theirs.result.cllr is None and f"scores of {name}" in theirs.result.protocol.line()
    with pytest.raises(ScoreFileError, match="give embeddings instead"):
        peers.evaluate(tmp_path / name, corpus, (), Scoring("mean"), corpus, P_TARGETS)


def test_a_file_of_scores_answers_for_the_lists_that_it_covers(corpus, tmp_path):
    both = by_model(corpus, ["validation", "test"])
    score_files.write(tmp_path / "all.txt", pa.concat_tables([one.scores for one in both]))
    (one,) = peers.evaluate(tmp_path / "all.txt", corpus, ["validation"], Scoring(), corpus, P_TARGETS)
    assert one.result.eer == both[0].result.eer
    assert f"({len(both[1].scores):,} other trials in it)" in one.result.protocol.line()


def test_what_is_missing_is_listed(corpus, tmp_path):
    (ours,) = by_model(corpus, ["test"])
    score_files.write(tmp_path / "short.txt", ours.scores.slice(1))
    first = ours.scores.to_pylist()[0]
    with pytest.raises(ScoreFileError, match=r"1 of .* no score") as caught:
        peers.evaluate(tmp_path / "short.txt", corpus, (), Scoring(), corpus, P_TARGETS)
    assert first["enrol"] in str(caught.value) and first["test"] in str(caught.value)
    names, table = vectors(corpus)
    wanted = trial_utterances(corpus.trials["test"])
    kept = [row for row, name in enumerate(names) if name not in wanted[:2]]
    np.savez(tmp_path / "short.npz", ids=np.array(names)[kept], embeddings=table[kept])
    with pytest.raises(ScoringError, match=r"2 of .* have no embedding") as caught:
        peers.evaluate(tmp_path / "short.npz", corpus, (), Scoring(), corpus, P_TARGETS)
    assert caught.value.names == wanted[:2]


def test_embeddings_of_the_trials_alone_are_enough_for_plain_figures(corpus, tmp_path):
    names, table = vectors(corpus)
    wanted = set(trial_utterances(corpus.trials["test"]))
    kept = [row for row, name in enumerate(names) if name in wanted]
    np.savez(tmp_path / "test.npz", ids=np.array(names)[kept], embeddings=table[kept])
    (theirs,) = peers.evaluate(tmp_path / "test.npz", corpus, (), Scoring(), corpus, P_TARGETS)
    (ours,) = by_model(corpus, ["test"])
    assert theirs.result.eer == ours.result.eer and theirs.result.cllr is None
