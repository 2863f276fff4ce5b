"""The leaderboard: one row an arm, results first, controls apart from them, each figure with its seeds.

In: a benchmark and the name of its baseline. Out: `Standing`s a list, and them as a Markdown table.
"""

from collections.abc import Collection
from dataclasses import dataclass

from vgsr.report.collect import Arm, Benchmark, Figure
from vgsr.report.gains import BETTER, NEITHER, WORSE, Gain, Gains, p_value, signed
from vgsr.report.markdown import table
from vgsr.tracking import PROTOCOL

NOTHING = "–"
ONE_SEED = " · 1 seed"
# What is said of the arms with each verdict.
VERDICTS = {
    BETTER: "**Better** than {}",
    WORSE: "**Worse** than {}",
    NEITHER: "**No difference shown** to {}",
    None: "No interval, so maybe by chance; gain over {}",
}


@dataclass(frozen=True)
class Standing:
    """An arm on one trial list. min_dcf: p_target as text → normalised cost."""

    arm: Arm
    eer: Figure
    min_dcf: dict[str, Figure]
    gain: Gain | None


def standings(benchmark: Benchmark, trials: str, baseline: Arm | None, gains: Gains) -> list[Standing]:
    """All shown arms with figures on a list: results, then controls, the lowest mean EER first."""
    found = []
    for arm in benchmark.shown:
        eer = arm.figure(f"test_{trials}_eer")
        if eer is not None:
            prefix = f"test_{trials}_min_dcf_"
            keys = sorted({key for run in arm.completed for key in run.figures if key.startswith(prefix)})
            costs = {key.removeprefix(prefix): cost for key in keys if (cost := arm.figure(key))}
            against = gains(arm, baseline, trials) if baseline and arm is not baseline else None
            found.append(Standing(arm, eer, costs, against))
    return sorted(found, key=lambda one: (one.arm.control != "none", one.eer.mean))


def markdown(found: list[Standing], baseline: Arm | None) -> str:
    """The table of one list."""
    p_targets = sorted({p for one in found for p in one.min_dcf}, key=float)
    against = ["gain % [95 %]", "p", "verdict"] if baseline else []
    headings = ["arm", "seeds", "EER %", *(f"minDCF({p})" for p in p_targets), *against]
    rows = []
    for number, one in enumerate(found):
        if one.arm.control != "none" and (number == 0 or found[number - 1].arm.control == "none"):
            rows.append(["**controls**", *[""] * (len(headings) - 1)])
        costs = [f"{one.min_dcf[p].mean:.3f}" if p in one.min_dcf else NOTHING for p in p_targets]
        rows.append([name(one.arm), seeds(one.arm, one.eer), percent(one.eer), *costs, *_against(one, baseline)])
    return table(headings, rows, numbers=range(2, 3 + len(p_targets) + 2 * bool(baseline)))


def sentence(found: list[Standing], baseline: Arm | None) -> str:
    """Who is better and who is worse than the baseline, controls left out; "" without gains."""
    said = []
    for verdict, words in VERDICTS.items():
        own = [one for one in found if one.arm.control == "none" and one.gain and one.gain.verdict == verdict]
        if own and baseline:
            named = ", ".join(f"{one.arm.name} ({signed(one.gain.relative)} %)" for one in own if one.gain)
            said.append(f"{words.format(baseline.name)}: {named}.")
    return " ".join(said)


def intervals(found: list[Standing]) -> list[str]:
    """What the intervals rest on, what to beware of, why there are none: each once with the arms it is true of."""
    said: dict[str, list[str]] = {}
    for one in found:
        if one.gain is not None:
            own = one.gain.interval
            lines = [f"No interval: {own}"] if isinstance(own, str) else [f"Interval: {own.basis}", *own.warnings]
            for place, line in enumerate(lines):
                said.setdefault(f"**Caution**: {line}" if place else line, []).append(one.arm.name)
    return [f"{text} ({', '.join(names)})." for text, names in said.items()]


def protocols(benchmark: Benchmark, trials: str) -> list[str]:
    """By which protocol the figures of a list were measured, one line each; several are a warning."""
    runs = [run for arm in benchmark.shown for run in arm.completed if f"test_{trials}_eer" in run.figures]
    return told({run.tags.get(f"{PROTOCOL}{trials}", "no protocol is known") for run in runs})


def told(lines: Collection[str]) -> list[str]:
    """Protocols of single runs as those of arms; more than one is a warning."""
    own = sorted({line.removesuffix(ONE_SEED) for line in lines})
    said = [f"Protocol: {line} · each run one seed, each arm the mean over its seeds." for line in own]
    warning = "**Warning: runs were measured by different protocols, so their figures must not be compared.**"
    return [warning, *said] if len(said) > 1 else said


def name(arm: Arm) -> str:
    """An arm as tables name it; a control says so."""
    return arm.name if arm.control == "none" else f"*{arm.name}* (control: {arm.control})"


def seeds(arm: Arm, figure: Figure) -> str:
    """How many seeds a figure rests on, and whether that makes it optimistic."""
    return f"{figure.seeds} seed, chosen on validation: optimistic" if arm.searched else str(figure.seeds)


def percent(figure: Figure | None) -> str:
    """An error rate in per cent: mean ± standard deviation over the seeds."""
    if figure is None:
        return NOTHING
    deviation = "" if figure.deviation is None else f" ± {100 * figure.deviation:.2f}"
    return f"{100 * figure.mean:.2f}{deviation}"


def _against(one: Standing, baseline: Arm | None) -> list[str]:
    if baseline is None:
        return []
    if one.arm is baseline:
        return ["baseline", NOTHING, NOTHING]
    if one.gain is None:
        return ["cannot be told", NOTHING, NOTHING]
    found = one.gain
    if isinstance(found.interval, str):
        return [signed(found.relative), NOTHING, "no interval"]
    ends = f"[{signed(found.interval.low)}, {signed(found.interval.high)}]"
    return [f"{signed(found.relative)} {ends}", p_value(found.interval.p), str(found.verdict)]
