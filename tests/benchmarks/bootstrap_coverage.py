"""How often intervals of `vgsr.evaluation.significance` hold the true difference, on simulated systems (run by hand).

python tests/benchmarks/bootstrap_coverage.py 1000            # every setting; an hour on one core
python tests/benchmarks/bootstrap_coverage.py 1000 luck       # those with "luck" in their name
python tests/benchmarks/bootstrap_coverage.py 1000 variants   # other ways to resample
"""

import sys
import time

import numpy as np
from scipy.special import stdtrit
from simulated_systems import SETTINGS, Setting, expected, simulations

from vgsr.evaluation.common_list import CommonList, common_list
from vgsr.evaluation.resampling import draws, resample, speaker_weights
from vgsr.evaluation.significance import SignificanceError, compare, interval
from vgsr.evaluation.weighted import weighted_eers

REPLICATES = 300


def study(name: str, setting: Setting, count: int) -> str:
    """A row of the table."""
    start = time.process_time()
    eer_a, spread = expected(setting, 0.0)
    truth = eer_a / expected(setting, setting.extra)[0] - 1 if setting.extra else 0.0
    found, alone = [], []
    for a, b in simulations(setting, count):
        try:
            found.append(compare(a, b, seeds_paired=setting.paired, replicates=REPLICATES))
            alone.append(interval(a, replicates=REPLICATES))
        except SignificanceError:  # one of them never errs
            continue
    figures = [
        np.mean([one.low <= truth <= one.high for one in found]),
        np.mean([one.p < 0.05 for one in found]),
        np.median([one.high - one.low for one in found]) / 2,
        np.mean([one.low <= eer_a <= one.high for one in alone]),
        np.mean([any("errors" in warning for warning in one.basis.warnings) for one in found]),
        1 - len(found) / count,
    ]
    errors = eer_a * setting.speakers * setting.targets
    cells = [
        *(name, "+".join(map(str, setting.seeds)), f"{100 * eer_a:.1f}", f"{errors:.1f}", f"{100 * spread:.0f}"),
        *(f"{100 * truth:+.1f}", *(f"{100 * figure:.1f}" for figure in figures), f"{time.process_time() - start:.0f}"),
    ]
    return f"| {' | '.join(cells)} |"


HEADINGS = (
    *("setting", "seeds", "EER %", "misses", "seeds ± %", "truth %", "held %", "p < 0.05 %", "width ± %"),
    *("A alone held %", "few errors %", "none told %", "seconds"),
)


def variants(name: str, setting: Setting, count: int) -> str:
    """Coverage with the variance over speakers taken in other ways, with a degree of freedom less than speakers."""
    held: dict[str, list[bool]] = {}
    for a, b in simulations(setting, count):
        both = common_list([a[0], b[0]], ["A", "B"])
        eers = np.array([system.eer for system in both.systems])
        if not eers.all():
            continue
        for way, variance in variances(both, eers).items():
            margin = np.sqrt(variance) * stdtrit(setting.speakers - 1, 0.975)
            held.setdefault(way, []).append(abs(np.log(eers[0] / eers[1])) <= margin)
    return f"| {name} | {' | '.join(f'{100 * np.mean(one):.1f}' for one in held.values())} |"


WAYS = ("trials one by one", "speakers, targets n²", "speakers", "speakers less pairs", "speakers less twice pairs")


def variances(both: CommonList, eers: np.ndarray) -> dict[str, float]:
    """Of the relative difference of two systems, in each of WAYS."""
    rng = np.random.default_rng(0)
    who, contrast = both.who, np.array([1, -1]) / eers
    squared = speaker_weights(who, draws(who.speakers, REPLICATES, rng))
    squared[:, who.target] **= 2
    sampled = resample(both.systems, who, REPLICATES, 0)
    replicates = [
        weighted_eers(both.systems, draws(len(who.target), REPLICATES, rng)),
        weighted_eers(both.systems, squared),
        sampled.by_speaker,
        sampled.by_pair,
    ]
    trials, squares, speakers, pairs = (float(np.nanvar(contrast @ one, ddof=1)) for one in replicates)
    scale = who.speakers / (who.speakers - 1)
    of_speakers = (squares, speakers, speakers - pairs, max(speakers - 2 * pairs, speakers / 3))
    return dict(zip(WAYS, [trials, *(scale * one for one in of_speakers)], strict=True))


def main() -> None:
    count, chosen = int(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""
    print(f"{count} simulated lists a setting, {REPLICATES} resampled lists of either kind, 95 % intervals\n")
    row, headings = (variants, ("held %", *WAYS)) if chosen == "variants" else (study, HEADINGS)
    print(f"| {' | '.join(headings)} |\n|{' --- |' * len(headings)}")
    for name, setting in SETTINGS.items():
        if chosen in name or (chosen == "variants" and setting.seeds == (1, 1) and not setting.extra):
            print(row(name, setting, count), flush=True)


if __name__ == "__main__":
    main()
