"""The page of a report: what was compared, the leaderboard, what it means, how robust it is, and where the runs are.

In: a benchmark, its baseline, and the plots that were drawn. Out: the generated part of README.md. Every sentence is
computed; nothing on it names a folder, a machine or a person.
"""

from collections import Counter
from collections.abc import Mapping

from vgsr import tracking
from vgsr.report import leaderboard, robustness
from vgsr.report.collect import Arm, Benchmark
from vgsr.report.compared import compared
from vgsr.report.controls import counterpart, sentence
from vgsr.report.gains import Gains, gains
from vgsr.report.leaderboard import percent
from vgsr.report.settings import without_folders
from vgsr.teachers.coverage import Coverage

FIGURES = "EER and minDCF: mean over the seeds of an arm, ± their standard deviation."
GAINS = "Gain: the share of the EER of {} that an arm takes away; a loss is negative."
SEVERAL = (
    "p and intervals are of single comparisons: of twenty arms that do nothing, one looks better or worse at 95 %."
)


def page(benchmark: Benchmark, baseline: Arm | None, drawn: Mapping[str, str], undrawn: Mapping[str, str]) -> str:
    """All sections. drawn: name of each plot → its caption; undrawn: of each that there is not → why."""
    figures = [f"![{name}]({name}.png)\n\n{caption} ([PDF]({name}.pdf))" for name, caption in drawn.items()]
    absent = [f"There is no {name} plot: {why}." for name, why in undrawn.items()]
    gained = gains(benchmark)
    sections = {
        "What was compared": compared(benchmark),
        "Leaderboard": _leaderboard(benchmark, baseline, gained),
        "The search's verdict": _verdict(benchmark),
        "The teacher": _teacher(benchmark),
        "What the controls say": _controls(benchmark, baseline, gained),
        "Robustness": robustness.markdown(benchmark),
        "Plots": "\n\n".join([*figures, *absent]),
        "Runs": _runs(benchmark),
    }
    return "\n\n".join(f"## {heading}\n\n{text}" for heading, text in sections.items() if text)


def _leaderboard(benchmark: Benchmark, baseline: Arm | None, gained: Gains) -> str:
    if not benchmark.lists:
        return (
            "No completed run has figures on a test list: there is only the validation EER above, which is optimistic."
        )
    parts, several = [f"{FIGURES} {GAINS.format(baseline.name)}" if baseline else FIGURES], False
    if baseline is None:
        parts.append("There is no completed baseline in this search, so no gain can be told.")
    for trials in benchmark.lists:
        found = leaderboard.standings(benchmark, trials, baseline, gained)
        parts += [f"**{trials}**", leaderboard.markdown(found, baseline), leaderboard.sentence(found, baseline)]
        parts += [*leaderboard.protocols(benchmark, trials), *leaderboard.intervals(found)]
        several = several or any(one.gain and one.gain.verdict for one in found)
    return "\n\n".join(filter(None, [*parts, SEVERAL if several else ""]))


def _verdict(benchmark: Benchmark) -> str:
    """What the search itself decided, with its reason; empty of one without a second stage."""
    return "\n".join(f"- {line}" for line in benchmark.search.tags.get(tracking.VERDICT, "").splitlines())


def _teacher(benchmark: Benchmark) -> str:
    coverage = Coverage.of(benchmark.search.figures)
    return " ".join(filter(None, [f"The teacher has {coverage}." if coverage else "", _teacher_eer(benchmark)]))


def _teacher_eer(benchmark: Benchmark) -> str:
    eer = benchmark.search.figures.get("teacher_eer")
    if eer is None:
        return "The teacher's own EER cannot be told: that takes validation trials between two pictures of one person."
    text = f"The teacher's own EER, on the validation list, is {100 * eer:.2f} %."
    students = [
        (figure, arm) for arm in benchmark.arms if arm.control == "none" and (figure := arm.figure("best_val_eer"))
    ]
    if not students:
        return text
    best, arm = min(students, key=lambda student: student[0].mean)
    if eer < best.mean:
        return f"{text} The best student's there is {percent(best)} % ({arm.name})."
    return (
        f"{text} **Warning: the teacher is no better than the best student** there ({arm.name}, {percent(best)} %); it "
        "has little to teach."
    )


def _controls(benchmark: Benchmark, baseline: Arm | None, gained: Gains) -> str:
    controls = [arm for arm in benchmark.shown if arm.control != "none"]
    if not controls:
        return "There is no completed control in this search: what a gain is made of is not known."
    if baseline is None or not benchmark.lists:
        return "Without a baseline and figures on a test list, the controls say nothing."
    told, controlled = [], set[str]()
    for control in controls:
        arm = counterpart(benchmark, control)
        if arm is None:
            told.append(f"{control.name}: no completed arm of this search differs from it by the faces alone.")
            continue
        controlled.add(arm.name)
        found = [sentence(gained, control, arm, baseline, trials) for trials in benchmark.lists]
        told += [text for text in found if text] or [f"{control.name}: it has no figures beside those of {arm.name}."]
    rest = [
        arm.name for arm in benchmark.shown if arm.name not in {baseline.name, *controlled} and arm.control == "none"
    ]
    if rest:
        told.append(f"There is no control of {', '.join(rest)}: what is gained there need not come from faces.")
    return "\n".join(f"- {text}" for text in told)


def _runs(benchmark: Benchmark) -> str:
    states = Counter(run.state for run in benchmark.runs)
    order = (tracking.COMPLETED, tracking.PRUNED, tracking.FAILED, tracking.RUNNING)
    lines = [", ".join(f"{states[state]} {state}" for state in order if states[state]) + "."]
    for state in (tracking.PRUNED, tracking.FAILED):
        reasons = Counter(_reason(run.tags) for run in benchmark.runs if run.state == state)
        lines += [f"- {count} {state}: {reason}" for reason, count in reasons.most_common()]
    where = (
        f"Search `{benchmark.name}` in MLflow (`vgsr ui`), where this folder is attached to its run as `report/`. "
        "Settings and figures of every run: `runs.parquet`."
    )
    return "\n".join(lines) + f"\n\n{where}"


def _reason(tags: Mapping[str, str]) -> str:
    """The last line of why a run ended, which of an error is its message."""
    lines = tags.get("vgsr.reason", "").strip().splitlines()
    return without_folders(lines[-1])[:200] if lines else "no reason is known"
