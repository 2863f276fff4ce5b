"""What other speakers would have changed: a list's EERs in resampled lists, and the variance read from them.

In: the scores of one list by several systems, and who speaks on both sides of each trial. Out: the EERs in each of
many resampled lists, the same lists for all systems, and from them the variance of any contrast of the systems.

A list of resampled speakers has speaker i as often as they were drawn, n_i times: each target trial of theirs n_i
times, each non-target trial of i and j n_i·n_j times. (A target trial n_i² times would count trials between two copies
of one person.) To resample trials instead is to take all trials of a speaker for independent evidence, and understates
the error: J. C. Wu et al., "The Impact of Data Dependence on Speaker Recognition Evaluation", IEEE/ACM Transactions on
Audio, Speech, and Language Processing 25 (2017).

Within a pair of speakers, n_i·n_j varies three times as much as it should (A. Owen, "The pigeonhole bootstrap", Annals
of Applied Statistics 1 (2007)), and what makes a non-target score is mostly the pair: how alike the two voices are. A
second bootstrap, over pairs of speakers with the targets kept, measures that part, and twice it is taken off:
V = V_speakers − 2·V_pairs, but at least V_speakers/3, below which it cannot be. To first order this is the variance of
dyadic data, where trials depend on each other when they share a speaker (P. Aronow, C. Samii, V. Assenova,
"Cluster-robust variance estimation for dyadic data", Political Analysis 23 (2015)). The correction is ours;
`tests/benchmarks/bootstrap_coverage.py` shows how intervals cover with and without it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vgsr.evaluation.metrics import Flags, Floats
from vgsr.evaluation.weighted import Integers, Ranked, Weights, weighted_eers

# Trials × resampled lists that are weighed at once: 16 MB of weights.
BLOCK = 4_000_000


@dataclass(frozen=True, eq=False)
class Voices:
    """Who speaks in each trial of a list [T]: target flags, speakers by number from 0 to `speakers` − 1.

    pair: number of the two speakers, in either order, of each non-target trial, from 0 to `pairs` − 1; 0 for targets.
    """

    target: Flags
    enrol: Integers
    test: Integers
    speakers: int
    pair: Integers
    pairs: int


@dataclass(frozen=True, eq=False)
class Replicates:
    """EERs of systems in lists of resampled speakers [systems, lists] and of resampled pairs [systems, lists].

    drawn: how often each speaker is in the lists of the first kind [lists, speakers]; dropped: lists of that kind
    without a target or without a non-target trial, which are not among them. A contrast [systems] is what the systems'
    EERs are multiplied by and summed.
    """

    by_speaker: Floats
    by_pair: Floats
    drawn: Weights
    dropped: int

    def variance(self, contrast: Floats) -> float:
        """Variance of a contrast over lists of other speakers."""
        whole = float(np.var(contrast @ self.by_speaker, ddof=1))
        return max(whole - 2 * float(np.var(contrast @ self.by_pair, ddof=1)), whole / 3)

    def freedom(self, contrast: Floats) -> float:
        """Degrees of freedom by which that variance is known: few where few speakers make most of it.

        By Satterthwaite, for a sum of squared contributions, one a speaker: as many as there are speakers when the
        contributions are normal, two when all is due to one. What a speaker contributes is the covariance, over lists,
        of the contrast with how often they were drawn (infinitesimal jackknife: B. Efron, "Estimation and accuracy
        after model selection", Journal of the American Statistical Association 109 (2014)).
        """
        figures = contrast @ self.by_speaker
        contributions = (self.drawn - 1.0).T @ (figures - figures.mean())
        squares = contributions**2
        most = len(squares) - 1.0
        if not squares.sum():
            return most
        excess = float((squares**2).sum() / squares.sum() ** 2) - 1 / len(squares)
        return min(most, 2 / excess) if excess > 0 else most


def voices(target: Flags, enrol: Integers, test: Integers) -> Voices:
    """Trials [T] with the numbers of their speakers, from 0 without gaps."""
    speakers = int(max(enrol.max(), test.max())) + 1
    both = np.minimum(enrol, test) * speakers + np.maximum(enrol, test)
    pairs, found = np.unique(both[~target], return_inverse=True)
    pair = np.zeros(len(target), dtype=np.int64)
    pair[~target] = found
    return Voices(target, enrol, test, speakers, pair, len(pairs))


def resample(systems: Sequence[Ranked], who: Voices, replicates: int, seed: int) -> Replicates:
    """EERs of systems on one list in `replicates` lists of each kind; a seed gives the same lists for all systems.

    Lists are weighed in blocks, which change nothing.
    """
    of_speakers, of_pairs = (np.random.default_rng([seed, kind]) for kind in range(2))
    size = max(1, BLOCK // len(who.target))
    blocks = [slice(at, min(at + size, replicates)) for at in range(0, replicates, size)]
    drawn = draws(who.speakers, replicates, of_speakers)
    by_speaker, by_pair = (
        np.concatenate([weighted_eers(systems, weights) for weights in weighed], axis=1)
        for weighed in (
            (speaker_weights(who, drawn[block]) for block in blocks),
            (pair_weights(who, draws(who.pairs, block.stop - block.start, of_pairs)) for block in blocks),
        )
    )
    usable = ~np.isnan(by_speaker).any(axis=0)
    return Replicates(by_speaker[:, usable], by_pair, drawn[usable], int((~usable).sum()))


def draws(things: int, lists: int, rng: np.random.Generator) -> Weights:
    """How often each of `things` is among as many draws with replacement: [lists, things]."""
    numbers = rng.integers(things, size=(lists, things)) + things * np.arange(lists)[:, None]
    return np.bincount(numbers.ravel(), minlength=lists * things).reshape(lists, things).astype(np.int32)


def speaker_weights(who: Voices, drawn: Weights) -> Weights:
    """How often each trial is in lists where speakers are drawn [lists, speakers] times: [lists, T]."""
    weights = np.take(drawn, who.test, axis=1)
    weights[:, who.target] = 1
    weights *= np.take(drawn, who.enrol, axis=1)
    return weights


def pair_weights(who: Voices, drawn: Weights) -> Weights:
    """How often each trial is in lists where pairs are drawn [lists, pairs] times and the targets kept: [lists, T]."""
    weights = np.take(drawn, who.pair, axis=1)
    weights[:, who.target] = 1
    return weights
