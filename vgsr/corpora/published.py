"""What was found against what the corpus' authors publish: rows and trial lists in, a comparison out."""

from collections.abc import Sequence
from dataclasses import dataclass

from vgsr.corpora.registry import CorpusError, Published, Trials
from vgsr.corpora.rows import Rows
from vgsr.data.manifest import Problem

SHOWN = 5  # problems in a message


@dataclass(frozen=True)
class Compared:
    """A published count and what was found."""

    what: str
    published: int
    found: int

    @property
    def difference(self) -> int:
        """Found less published."""
        return self.found - self.published


def compare(published: Sequence[Published], utterances: Rows, lists: Trials) -> tuple[Compared, ...]:
    """Each published count against that of the recordings that can be read and of the trial lists."""
    return tuple(Compared(each.what, each.count, each.of(utterances, lists)) for each in published)


def insist(name: str, compared: Sequence[Compared], problems: Sequence[Problem]) -> None:
    """CorpusError with every difference, and with the first problems, which may say why."""
    lines = [
        f"  {each.what}: {each.published:,} are published, {each.found:,} were found ({each.difference:+,})"
        for each in compared
        if each.difference
    ]
    if lines:
        left_out = [f"  {problem.uri}: {problem.reason}" for problem in problems[:SHOWN]]
        more = f"  … and {len(problems) - SHOWN:,} more" if len(problems) > SHOWN else ""
        told = [f"{len(problems):,} inputs were left out:", *left_out, *([more] if more else [])] if problems else []
        raise CorpusError(
            "\n".join(
                [
                    f"corpus {name!r} is not what its authors publish, and --strict was asked for:",
                    *lines,
                    *told,
                    "Nothing was written; complete the corpus, or prepare it without --strict.",
                ]
            )
        )
