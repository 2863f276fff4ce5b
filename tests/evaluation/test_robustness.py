"""Matrices against embeddings, cosines and error rates by hand; and what was stopped goes on as if it had not been."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
import torch
from torch import nn

from vgsr.data import audio, manifest
from vgsr.data.features import Fbank
from vgsr.evaluation import condition_file, disturbances, embedding, matrix, robustness
from vgsr.evaluation.conditions import ALL, Condition
from vgsr.evaluation.embedding import embed_wave, trial_utterances

CPU = torch.device("cpu")


class Moments(nn.Module):
    """A student that says everything about its features: no disturbance escapes it."""

    def forward(self, features):
        return torch.cat([features.mean(dim=1), features.std(dim=1)], dim=1)


class Samples(nn.Module):
    """In place of a front end: the samples as they come, every one of which is written down."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def forward(self, wave):
        self.seen.append(wave[0].numpy().copy())
        return wave[:, :100, None]


@dataclass
class Model:
    student: nn.Module
    fbank: nn.Module
    digest: str = "0" * 64
    device: torch.device = CPU


@pytest.fixture(scope="module")
def corpus(tiny):
    """The tiny corpus with a list that enrols people by two utterances."""
    corpus = manifest.read(tiny)
    trials = corpus.trials["test"]
    owners = dict(zip(*(corpus.utterances[c].to_pylist() for c in ("utterance_id", "speaker")), strict=True))
    of = {}
    for utterance in trial_utterances(trials):
        of.setdefault(owners[utterance], []).append(utterance)
    enrolled = [(speaker, utterance) for speaker, own in of.items() for utterance in own[:2]]
    rows = [(int(speaker == owner), speaker, test) for speaker in of for owner, own in of.items() for test in own[2:]]
    several = pa.table([pa.array(column) for column in zip(*rows, strict=True)], schema=manifest.TRIALS)
    behind = pa.table([pa.array(column) for column in zip(*enrolled, strict=True)], schema=manifest.ENROLMENTS)
    other = replace(corpus)
    vars(other).update(trials={"test": trials, "several": several}, enrolments={"several": behind})  # as if read
    return other


@pytest.fixture(scope="module")
def drawn(corpus, musan, impulses, tmp_path_factory):
    found = disturbances.find(musan, impulses)
    folder = tmp_path_factory.mktemp("conditions")
    return condition_file.prepare(corpus, ["test", "several"], found, file=None, folder=folder)


@pytest.fixture
def model():
    return Model(Moments(), Fbank(80))


def by_hand(scores, labels):
    """The equal error rate: both rates at every threshold, and the line between the two points beside the crossing."""
    points = []
    for threshold in [*sorted(set(scores)), np.inf]:
        missed = [score < threshold for score, label in zip(scores, labels, strict=True) if label]
        accepted = [score >= threshold for score, label in zip(scores, labels, strict=True) if not label]
        points.append((sum(missed) / len(missed), sum(accepted) / len(accepted)))
    for (miss, fa), (next_miss, next_fa) in pairwise(points):
        if next_miss >= next_fa:
            share = (fa - miss) / ((fa - miss) + (next_miss - next_fa))
            return miss + share * (next_miss - miss)
    raise AssertionError("the rates never cross")


def cosine(one, other):
    return float(np.dot(one, other) / np.linalg.norm(one) / np.linalg.norm(other))


def test_a_matrix_is_the_error_rates_of_every_condition(model, corpus, drawn, tmp_path):
    found = robustness.evaluate(model, corpus, drawn, ["test", "several"], tmp_path)
    rows = {row["utterance_id"]: row for row in corpus.utterances.to_pylist()}
    enrolled = corpus.enrolled("several")
    for condition in ALL:
        disturb, vectors = drawn.disturbed(condition), {}
        for name in embedding.of_lists(corpus, ["test", "several"]):
            wave = audio.read(corpus.file(rows[name]["uri"]), rows[name]["start"], rows[name]["seconds"])
            vectors[name] = embed_wave(model.student, model.fbank, disturb(name, wave), CPU).astype(np.float64)
        vectors |= {name: np.mean([vectors[one] for one in each], axis=0) for name, each in enrolled.items()}
        for name, one in found.items():
            trials = corpus.trials[name].to_pylist()
            scores = [cosine(vectors[trial["enrol"]], vectors[trial["test"]]) for trial in trials]
            assert one.eer[condition] == pytest.approx(by_hand(scores, [t["label"] for t in trials]), abs=1e-9)
    assert list(found["test"].eer) == list(ALL)
    assert len({*found["test"].eer.values()}) > 5  # the conditions are not all one


def test_what_is_embedded_has_exactly_the_snr_that_its_condition_says(corpus, drawn, tmp_path):
    rows = {row["utterance_id"]: row for row in corpus.utterances.to_pylist()}
    name = embedding.of_lists(corpus, ["test"])[0]
    clean = audio.read(corpus.file(rows[name]["uri"]), rows[name]["start"], rows[name]["seconds"]).astype(np.float64)
    for condition in drawn.all:
        model = Model(Moments(), Samples())
        robustness.embed(model, corpus, drawn, condition, [name], tmp_path / condition.name)
        (seen,) = model.fbank.seen
        if condition.kind in ("noise", "babble", "music"):
            ratio = np.mean(clean**2) / np.mean((seen - clean) ** 2)
            assert 10 * np.log10(ratio) == pytest.approx(condition.level, abs=0.01)
        if condition.kind == "reverberation":
            assert len(seen) == len(clean) and not np.allclose(seen, clean)
            assert np.mean(seen.astype(np.float64) ** 2) == pytest.approx(np.mean(clean**2), rel=1e-5)
        if condition.kind == "duration":
            assert len(seen) == min(len(clean), condition.level * audio.RATE)
        if condition.kind == "clean":
            assert np.array_equal(seen, clean)


def test_work_that_was_stopped_goes_on_and_ends_as_if_it_had_not_been(model, corpus, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(robustness, "KEPT", 5)
    whole = robustness.evaluate(model, corpus, drawn, ["test"], tmp_path / "whole")
    done = {True: 0, False: 0}

    def count(utterances, kept):
        done[kept] += utterances
        if done[False] == 100:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        robustness.evaluate(model, corpus, drawn, ["test"], tmp_path / "stopped", count)
    assert not list((tmp_path / "stopped").rglob(".*"))
    kept = len(list((tmp_path / "stopped").rglob("*.npy")))
    done = {True: 0, False: 101}
    again = robustness.evaluate(model, corpus, drawn, ["test"], tmp_path / "stopped", count)
    assert again == whole
    assert 0 < done[True] < 100 and kept > 0
    assert done[True] + done[False] - 101 == 20 * len(embedding.of_lists(corpus, ["test"]))
    files = {file.relative_to(tmp_path / "whole"): file.read_bytes() for file in (tmp_path / "whole").rglob("*.npy")}
    assert files == {
        file.relative_to(tmp_path / "stopped"): file.read_bytes() for file in (tmp_path / "stopped").rglob("*.npy")
    }
    done = {True: 0, False: 101}
    assert robustness.evaluate(model, corpus, drawn, ["test"], tmp_path / "stopped", count) == whole
    assert done[False] == 101  # nothing was embedded a second time


def test_other_weights_and_other_conditions_do_not_take_what_was_kept(model, corpus, drawn, tmp_path, monkeypatch):
    monkeypatch.setattr(condition_file.Conditions, "all", (Condition("clean"), Condition("noise", 5.0)))
    other = Model(nn.Sequential(Moments(), nn.Linear(160, 4)), Fbank(80), digest="1" * 64)
    for number, (one, conditions) in enumerate(
        [(model, drawn), (other, drawn), (model, replace(drawn, digest="2"))], 1
    ):
        robustness.evaluate(one, corpus, conditions, ["test"], tmp_path)
        assert len(list(tmp_path.rglob("*.npy"))) == 2 * number


def test_embeddings_do_not_hang_on_threads_which_are_as_many_again_afterwards(corpus, drawn, tmp_path):
    ids = embedding.of_lists(corpus, ["test"])
    wide = Model(nn.Sequential(Moments(), nn.Linear(160, 512)), Fbank(80))
    before, vectors = torch.get_num_threads(), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            folder = tmp_path / str(threads)
            vectors.append(robustness.embed(wide, corpus, drawn, Condition("babble", 5.0), ids, folder))
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert np.array_equal(*vectors)


def test_a_table_says_how_it_was_measured_and_reads_back(model, corpus, drawn, tmp_path):
    one = robustness.evaluate(model, corpus, drawn, ["test"], tmp_path)["test"]
    table = one.table()
    assert table.schema.remove_metadata() == matrix.TABLE
    assert matrix.of_table(table) == one.eer
    rows = {row["condition"]: row for row in table.to_pylist()}
    assert (rows["babble 5 dB"]["kind"], rows["babble 5 dB"]["level"]) == ("babble", 5.0)
    assert rows["clean"]["level"] is None
    said = table.schema.metadata[b"protocol"].decode()
    for text in ("SYNTHETIC", "synthetic/test", f"conditions {drawn.digest[:12]}", "both sides disturbed"):
        assert text in said
    assert said.startswith(f"{sum(corpus.trials['test']['label'].to_pylist())} target and ")


def test_means_say_how_many_and_which_conditions_they_are_over():
    eer = {one: (place + 1) / 100 for place, one in enumerate(ALL)}
    words = list(matrix.means(eer))
    assert words[0] == "mean of 16 (clean, noise 0–20 dB, babble 0–20 dB, music 0–20 dB)"
    assert words[1].startswith("mean of 20 (") and words[1].endswith("reverberation, duration 1–3 s)")
    assert matrix.mean(eer, matrix.means(eer)[words[0]]) == pytest.approx(sum(range(1, 17)) / 16 / 100)
    assert matrix.mean(eer, matrix.means(eer)[words[1]]) == pytest.approx(sum(range(1, 21)) / 20 / 100)
    less = [one for one in eer if one.kind in ("clean", "music", "duration")]
    assert list(matrix.means(less)) == [
        "mean of 6 (clean, music 0–20 dB)",
        "mean of 9 (clean, music 0–20 dB, duration 1–3 s)",
    ]


def test_several_seeds_are_mean_and_deviation_and_their_means_too(model, corpus, drawn, tmp_path):
    one = robustness.evaluate(model, corpus, drawn, ["test"], tmp_path)["test"]
    seeds = [replace(one, eer={condition: rate for condition in ALL}) for rate in (0.10, 0.12, 0.17)]
    head, *rows = matrix.grid({"single": [seeds[0]], "three": seeds})
    assert head == ["condition", "single", "three"]
    # sd of 10, 12, 17: sqrt((3² + 1² + 4²) / 2)
    assert rows[0] == ["clean", "10.00", "13.00 ± 3.61"]
    assert rows[-1] == ["mean of 20", "10.00", "13.00 ± 3.61"] and rows[-2][0] == "mean of 16"
    said = matrix.notes({"single": [seeds[0]], "three": seeds})
    assert any(line.startswith("single: ") and line.endswith("· 1 seed") for line in said)
    assert any(line.startswith("three: ") and line.endswith("· 3 seeds") for line in said)
    assert any(f"missed is {100 / one.targets:.2g} points" in line for line in said)
