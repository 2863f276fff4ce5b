"""Simulated systems of known EER, for tests of significance: a setting in, the score tables of its systems' seeds out.

A voice is a Gaussian vector, a recording of it has session noise (a two-covariance model), more of it for some
speakers where there are goats. A system adds noise of its own to a recording, the same in all its seeds: what its
recipe cannot hear; more of it for some speakers, others for A than for B, where it has taste. A seed turns the result
by a random map and adds noise; with luck, the amount differs between seeds. Scores are cosines. The truth is the ratio
of the expected EERs, over trainings and over all speakers.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from vgsr.evaluation.metrics import eer

DIMENSIONS = 16


@dataclass(frozen=True)
class Setting:
    """A world and a test list in it.

    targets, nontargets: trials a speaker; session: noise of a recording, and goats: how unlike it is for speakers; own:
    noise of a system, and taste: how unlike it is for speakers; extra: noise that B has more; luck: how unlike seeds
    are, and share: how much of it A and B have in common; seeds: of A and of B.
    """

    speakers: int = 100
    recordings: int = 5
    targets: int = 4
    nontargets: int = 16
    session: float = 0.8
    goats: float = 0.0
    own: float = 0.2
    taste: float = 0.0
    extra: float = 0.0
    luck: float = 0.0
    share: float = 0.5
    seeds: tuple[int, int] = (3, 3)
    paired: bool = True


CLIPS = {"recordings": 2, "targets": 1, "nontargets": 10}
DENSE = {"recordings": 8, "targets": 20, "nontargets": 100}
SETTINGS = {
    "40 speakers, 1 seed": Setting(speakers=40, seeds=(1, 1)),
    "40 speakers": Setting(speakers=40),
    "40 speakers, 1 target each, 1 seed": Setting(speakers=40, seeds=(1, 1), **CLIPS),
    "40 speakers, 1 target each": Setting(speakers=40, **CLIPS),
    "40 speakers, EER 20 %": Setting(speakers=40, session=1.2),
    "40 goats and sheep": Setting(speakers=40, session=0.6, goats=0.5),
    "40 speakers, taste, 1 seed": Setting(speakers=40, session=0.6, own=0.3, taste=0.7, seeds=(1, 1)),
    "100 speakers, taste": Setting(session=0.6, own=0.3, taste=0.7),
    "100 speakers, 1 seed": Setting(seeds=(1, 1)),
    "100 speakers": Setting(),
    "100 speakers, EER 5 %": Setting(session=0.62),
    "100 goats and sheep, luck": Setting(session=0.6, goats=0.5, luck=0.15),
    "100 speakers, some luck": Setting(luck=0.08),
    "100 speakers, luck": Setting(luck=0.15),
    "100 speakers, luck, 5 seeds": Setting(luck=0.15, seeds=(5, 5)),
    "100 speakers, much luck": Setting(luck=0.3),
    "100 speakers, much luck, 5 seeds": Setting(luck=0.3, seeds=(5, 5)),
    "100 speakers, luck, unpaired": Setting(luck=0.15, share=0.0, paired=False),
    "100 speakers, luck, 5 and 3 unpaired": Setting(luck=0.15, share=0.0, paired=False, seeds=(5, 3)),
    "100 speakers, luck, 3 and 1 unpaired": Setting(luck=0.15, share=0.0, paired=False, seeds=(3, 1)),
    "300 speakers, EER 3 %": Setting(speakers=300, session=0.52),
    "300 speakers, luck": Setting(speakers=300, luck=0.15),
    "A better by 10 %": Setting(extra=0.27, luck=0.08),
    "A better by 20 %": Setting(extra=0.38, luck=0.08),
    "A better by 30 %, 5 seeds": Setting(extra=0.5, luck=0.15, seeds=(5, 5)),
    "24 speakers, 20 targets each": Setting(speakers=24, **DENSE),
    "24 speakers, 20 targets each, 1 seed": Setting(speakers=24, seeds=(1, 1), **DENSE),
    "24 speakers, 20 targets each, taste, 1 seed": Setting(
        speakers=24, session=0.6, own=0.3, taste=0.7, seeds=(1, 1), **DENSE
    ),
    "10 speakers, 20 targets each": Setting(speakers=10, **DENSE),
    "5 speakers, 20 targets each": Setting(speakers=5, **DENSE),
    "few errors: 40 speakers, EER 2 %": Setting(speakers=40, session=0.5, seeds=(1, 1)),
    "few errors: 100 speakers, EER 2 %": Setting(session=0.5, seeds=(1, 1)),
    "few errors: 40 speakers, 1 target each, EER 5 %": Setting(speakers=40, session=0.62, seeds=(1, 1), **CLIPS),
    "few errors: 40 speakers, 1 target each, EER 2 %": Setting(speakers=40, session=0.5, seeds=(1, 1), **CLIPS),
    "few errors: 100 speakers, 1 target each, EER 2 %": Setting(session=0.5, seeds=(1, 1), **CLIPS),
    "few errors: 100 speakers, 1 target each, EER 2 %, B errs more": Setting(
        session=0.5, extra=0.4, seeds=(1, 1), **CLIPS
    ),
    "few errors: 100 speakers, EER 0.5 %": Setting(session=0.36, seeds=(1, 1)),
    "few errors: 100 speakers, 1 target each, EER 5 %": Setting(session=0.62, seeds=(1, 1), **CLIPS),
}


Pair = tuple[np.ndarray, np.ndarray]


def recordings(setting: Setting, rng: np.random.Generator, speakers: int, each: int) -> np.ndarray:
    """Recordings [speakers, each, DIMENSIONS]."""
    noise = setting.session * np.exp(setting.goats * rng.normal(size=(speakers, 1, 1)))
    return rng.normal(size=(speakers, 1, DIMENSIONS)) + noise * rng.normal(size=(speakers, each, DIMENSIONS))


def heard(setting: Setting, recorded: np.ndarray, extra: float, rng: np.random.Generator) -> np.ndarray:
    """What a system hears of recordings."""
    noise = np.hypot(setting.own, extra) * np.exp(setting.taste * rng.normal(size=(len(recorded), 1, 1)))
    return recorded + noise * rng.normal(size=recorded.shape)


def training(rng: np.random.Generator) -> Pair:
    """A seed: its map, and the amount of its luck."""
    return rng.normal(size=(DIMENSIONS, DIMENSIONS)) / np.sqrt(DIMENSIONS), rng.normal(size=1)


def mixed(common: Pair, own: Pair, share: float) -> Pair:
    """A seed that has a share in common with another."""
    return tuple(np.sqrt(share) * one + np.sqrt(1 - share) * other for one, other in zip(common, own, strict=True))


def embedded(setting: Setting, sounds: np.ndarray, seed: Pair, rng: np.random.Generator) -> np.ndarray:
    """Embeddings of norm 1 by a trained system."""
    turned, luck = seed
    found = sounds + 0.1 * sounds @ turned.T + (0.05 + setting.luck * abs(luck)) * rng.normal(size=sounds.shape)
    return found / np.linalg.norm(found, axis=-1, keepdims=True)


def trials(setting: Setting, speakers: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Enrolment and test (speaker, recording) [2, T] and labels [T]; targets come first."""
    firsts, seconds = np.triu_indices(setting.recordings, 1)
    chosen = np.concatenate([rng.permutation(len(firsts))[: setting.targets] for _ in range(speakers)])
    owner, one = np.repeat(np.arange(speakers), setting.targets), np.repeat(np.arange(speakers), setting.nontargets)
    other = (one + rng.integers(1, speakers, len(one))) % speakers
    drawn = rng.integers(setting.recordings, size=(2, len(one)))
    enrol = np.stack([np.append(owner, one), np.append(firsts[chosen], drawn[0])])
    test = np.stack([np.append(owner, other), np.append(seconds[chosen], drawn[1])])
    return enrol, test, np.arange(enrol.shape[1]) < len(owner)


def cosines(embeddings: np.ndarray, enrol: np.ndarray, test: np.ndarray) -> np.ndarray:
    """Scores of trials [T] of embeddings [speakers, recordings, DIMENSIONS]."""
    return np.einsum("td,td->t", embeddings[tuple(enrol)], embeddings[tuple(test)])


def tables(setting: Setting, rng: np.random.Generator) -> tuple[list[pa.Table], list[pa.Table]]:
    """Score tables of the seeds of A and of B, on a list of new speakers."""
    recorded = recordings(setting, rng, setting.speakers, setting.recordings)
    enrol, test, labels = trials(setting, setting.speakers, rng)
    names = {
        name: [f"s{speaker:03d}" for speaker in side[0]]
        for name, side in (("enrol_speaker", enrol), ("test_speaker", test))
    }
    for name, side in (("enrol", enrol), ("test", test)):
        names[name] = [f"s{speaker:03d}/{recording}" for speaker, recording in side.T]
    listed = pa.table({"label": labels.astype(np.int8), **names})
    common = [training(rng) for _ in range(max(setting.seeds))]
    found = []
    for extra, seeds in zip((0.0, setting.extra), setting.seeds, strict=True):
        sounds = heard(setting, recorded, extra, rng)
        scores = []
        for shared in common[:seeds]:
            seed = mixed(shared, training(rng), setting.share)
            scores.append(cosines(embedded(setting, sounds, seed, rng), enrol, test))
        found.append([listed.append_column("score", [one]) for one in scores])
    return found[0], found[1]


def expected(setting: Setting, extra: float, trainings: int = 60, speakers: int = 10_000) -> tuple[float, float]:
    """Mean EER of a recipe over trainings and all speakers, and its relative deviation between trainings."""
    rng = np.random.default_rng(20_000)
    found = []
    for _ in range(trainings // 10):
        sounds = heard(setting, recordings(setting, rng, speakers, setting.recordings), extra, rng)
        enrol, test, labels = trials(setting, speakers, rng)
        for _ in range(10):
            found.append(eer(cosines(embedded(setting, sounds, training(rng), rng), enrol, test), labels).value)
    return float(np.mean(found)), float(np.std(found) / np.mean(found))


def simulations(setting: Setting, count: int) -> Iterator[tuple[list[pa.Table], list[pa.Table]]]:
    """The first so many lists of a setting: the same ones at every call."""
    for number in range(count):
        yield tables(setting, np.random.default_rng([7, number]))
