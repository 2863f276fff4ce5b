"""Models side by side: what a user types for each in; models under the names of their columns out."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:  # these load torch and MLflow: `vgsr --help` must not wait for them
    from vgsr.speaker import Speaker
    from vgsr.tracking import TrackedRun


@dataclass(frozen=True)
class Tested:
    """A model in the column of its system, which it shares with other seeds; run: where it is tracked, if it is."""

    system: str
    model: "Speaker"
    run: "TrackedRun | None"

    @property
    def title(self) -> str:
        """What tells it from the other seeds of its system."""
        return self.system if self.run is None else f"{self.system}, seed {self.run.seed}"


def tested(texts: Sequence[str], device: str) -> list[Tested]:
    """The models that PLACE or NAME=PLACE means: of an arm all seeds, of a search all arms.

    BadParameter where two places would share a column.
    """
    found = [_of_place(text, device) for text in texts]
    names = [name for each in found for name in {one.system for one in each}]
    for name in names:
        if names.count(name) > 1:
            raise typer.BadParameter(f"two of the models are called {name!r}: tell them apart with NAME=PLACE")
    return [one for each in found for one in each]


def _of_place(text: str, device: str) -> list[Tested]:
    import vgsr
    from vgsr import tracking

    name, sign, place = text.partition("=")
    if not sign or "/" in name or Path(text).exists():
        name, place = "", text
    runs = _runs(place)
    if not runs:
        return [Tested(name or _called(place), vgsr.load(place, device), None)]
    arms = {run.arm: tracking.marked(run.arm, run.tags.get("vgsr.control", "none")) for run in runs}
    if name and len(arms) > 1:
        raise typer.BadParameter(f"{text}: {place} means {len(arms)} arms ({', '.join(arms)}), not one to be named")
    return [Tested(name or arms[run.arm], vgsr.load(f"runs:/{run.run_id}", device), run) for run in runs]


def _runs(place: str) -> "list[TrackedRun]":
    """The tracked runs that a place means; none where it is a folder, or nothing that is tracked."""
    from vgsr import tracking

    if place.startswith(("s3://", "models:/")) or Path(place).expanduser().exists():
        return []
    try:
        return tracking.select(tracking.connect_existing(), place.removeprefix("runs:/"))
    except tracking.TrackingError:
        return []  # `vgsr.load` tells what was tried


def _called(place: str) -> str:
    """The name of the run whose checkpoint lies at a place, as far as its path tells."""
    parts = [part for part in Path(place).parts if part != "checkpoints" and not re.fullmatch(r"\d{5}-\d{6}", part)]
    return parts[-1] if parts else place
