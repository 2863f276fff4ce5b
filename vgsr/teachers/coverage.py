"""On what share of a training set a teacher can act: as figures of a run, and in words."""

from collections.abc import Mapping
from dataclasses import dataclass

UTTERANCES, SPEAKERS = "face_coverage", "face_coverage_speakers"  # figures of a run


@dataclass(frozen=True)
class Coverage:
    """Shares in [0, 1] of the training utterances, and of the training speakers, that have a face."""

    utterances: float
    speakers: float

    @classmethod
    def of(cls, figures: Mapping[str, float]) -> "Coverage | None":
        """What the figures of a run say; None without a teacher, and of a run that is older than these figures."""
        return cls(figures[UTTERANCES], figures[SPEAKERS]) if {UTTERANCES, SPEAKERS} <= figures.keys() else None

    @property
    def figures(self) -> dict[str, float]:
        """By their names in a run."""
        return {UTTERANCES: self.utterances, SPEAKERS: self.speakers}

    def __str__(self) -> str:
        return (
            f"a face for {100 * self.utterances:.1f} % of the training utterances, "
            f"{100 * self.speakers:.1f} % of the speakers"
        )
