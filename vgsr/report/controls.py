"""Whether a gain survives a control: sentences computed from the figures, for a person to quote.

A gain that a control shares is regularisation, not knowledge of faces. A control is compared with the arm that differs
from it by the faces alone.
"""

from vgsr.report.collect import Arm, Benchmark
from vgsr.report.gains import BETTER, WORSE, Gain, Gains
from vgsr.report.settings import same_but_control

SHOWN = {"shuffled": "somebody else's faces", "random": "random vectors for faces"}


def counterpart(benchmark: Benchmark, control: Arm) -> Arm | None:
    """The arm that differs from a control by the faces alone; None where the search has none."""
    fitting = [
        arm
        for arm in benchmark.arms
        if arm.control == "none" and arm.completed and same_but_control(arm.runs[0], control.runs[0])
    ]
    return min(fitting, key=lambda arm: arm.searched, default=None)


def sentence(gains: Gains, control: Arm, arm: Arm, baseline: Arm, trials: str) -> str | None:
    """What a control says of an arm's gain on a list; None where one of the three has no figures there."""
    gained, kept, apart = gains(arm, baseline, trials), gains(control, baseline, trials), gains(arm, control, trials)
    if gained is None or kept is None or apart is None:
        return None
    shown = SHOWN.get(control.control, control.control)
    figures = f"with its own faces {gained.told(baseline.name)}; with {shown} {kept.told(baseline.name)}"
    return f"{arm.name} on {trials}: {figures}. {_conclusion(gained, kept, apart, shown)}"


def _conclusion(gained: Gain, kept: Gain, apart: Gain, shown: str) -> str:
    """Between arm and control stands their own paired comparison, not whether two intervals overlap."""
    if None in (gained.verdict, kept.verdict, apart.verdict):
        return _without_intervals(gained, kept, shown)
    if gained.verdict != BETTER:
        return "There is no gain to take apart."
    if apart.verdict == WORSE:
        return f"**With {shown} it is better still**, so the gain is no knowledge of faces."
    if apart.verdict == BETTER:
        between = f"it is {apart.told(f'with {shown}')}"
        if kept.verdict == BETTER:
            return f"**A part of the gain survives**, which is regularisation; a part does not: {between}."
        return f"**The gain does not survive**: {between}."
    between = apart.told(shown)
    if kept.verdict == BETTER:
        return f"**The gain survives**, with {between}: so far it is regularisation, not knowledge of faces."
    return f"Whether the gain survives cannot be told: {between}."


def _without_intervals(gained: Gain, kept: Gain, shown: str) -> str:
    if gained.relative <= 0:
        return "There is no gain to take apart."
    survives = round(100 * min(1.0, max(0.0, kept.relative / gained.relative)))
    part = {0: "None", 100: "All"}.get(survives, f"{survives} %")
    meaning = ": so much is regularisation, not knowledge of faces" if survives else ""
    return f"{part} of it survives {shown}, as far as figures without intervals tell{meaning}."
