"""What a run was set to, from the parameters MLflow keeps of it: as text, and as a setting to plot.

In: tracked runs. Out: text without folders. A results page is published, and where somebody's files lie is nobody
else's business; the last part of a path tells which file it was.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from vgsr.tracking import TrackedRun

OWN = ("seed", "name")  # parameters that do not make an arm: seeds are its runs, the name is the experiment's
TAUGHT = re.compile(r"distill\.(\d+\.)?(method|weight|margin\.(kind|unit|value))|quality\.(signals|apply_to)")
# A path or a URI: between quotation marks with spaces in it, else up to the next space or bracket.
START = r"(?:[a-zA-Z][a-zA-Z0-9+.-]*://|~/|(?<![\w.~/])/)"
PLACE = re.compile(rf"(?P<mark>['\"]){START}[^'\"]+(?P=mark)|{START}[^\s,;:'\"()\[\]]+")


@dataclass(frozen=True)
class Held:
    """How loosely one teacher's hold was set: the margin's value in its unit (absolute, or quantile: a level)."""

    method: str
    unit: str
    margin: float


def without_folders(text: str) -> str:
    """The text with every absolute path and every URI in it shortened to `…/` and its last part."""

    def last(found: re.Match[str]) -> str:
        mark = found["mark"] or ""
        return f"{mark}…/{found[0].strip(mark).rstrip('/').rpartition('/')[2]}{mark}"

    return PLACE.sub(last, text)


def parameters(run: TrackedRun) -> dict[str, str]:
    """All parameters of a run, as they may be published."""
    return {key: _shortened(value) for key, value in sorted(run.params.items())}


def kept(run: TrackedRun) -> dict[str, str]:
    """The parameters that make a run's arm: equal in the runs that differ by their seed alone.

    Without a teacher the settings of distillation mean nothing and are left out.
    """
    untaught = run.params.get("distill.method") == "none"
    return {
        key: value
        for key, value in run.params.items()
        if key not in OWN and not (untaught and key.startswith("distill.") and key != "distill.method")
    }


def changes(run: TrackedRun, base: TrackedRun) -> str:
    """In which settings a run differs from the experiment of its search, written as one would type them."""
    own, common = kept(run), base.params
    different = {key: value for key, value in own.items() if common.get(key) != value}
    return _typed(different)


def taught(run: TrackedRun) -> str:
    """By which methods, margins and weights a run was taught, written as one would type it."""
    return _typed({key: value for key, value in kept(run).items() if TAUGHT.fullmatch(key)})


def held(run: TrackedRun) -> list[Held]:
    """The margin of each distillation of a run; none without a teacher."""
    return [Held(one["method"], one["margin.unit"], float(one["margin.value"])) for one in run.distillations]


def same_but_control(run: TrackedRun, other: TrackedRun) -> bool:
    """Whether two runs are alike in all but their seed and whose faces the teacher was shown."""

    def rest(one: TrackedRun) -> Mapping[str, str]:
        return {key: value for key, value in kept(one).items() if key != "teacher.control"}

    return rest(run) == rest(other)


def _shortened(value: str) -> str:
    # A value that is a path as a whole may have spaces in it.
    whole = value.startswith(("/", "~")) or re.match(r"[a-z][a-z0-9+.-]*://", value)
    return f"…/{value.rstrip('/').rpartition('/')[2]}" if whole else without_folders(value)


def _typed(settings: Mapping[str, str]) -> str:
    return " ".join(f"{key}={_number(_shortened(value))}" for key, value in sorted(settings.items()))


def _number(value: str) -> str:
    try:
        return f"{float(value):.3g}" if "." in value or "e" in value else value
    except ValueError:
        return re.sub("[ '\"]", "", value)  # MLflow keeps a list as its Python text
