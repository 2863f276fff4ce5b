"""Markdown: tables, and a page whose generated part is replaced while what people wrote around it stays."""

import re
from collections.abc import Sequence
from pathlib import Path

from vgsr.mistakes import plain
from vgsr.report.collect import ReportError

HTML = re.compile(r"<(?=[A-Za-z/!?])")
BEGIN, END = "<!-- vgsr report: begin -->", "<!-- vgsr report: end -->"


def table(headings: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    """A table; columns whose places are in `numbers` stand to the right."""
    rule = ["---:" if place in numbers else "---" for place in range(len(headings))]
    lines = [headings, rule, *([" ".join(cell.replace("|", "\\|").split("\n")) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def merged(place: Path, title: str, generated: str) -> str:
    """The whole page at `place` with a new generated part.

    A page that is not there yet gets `title` as its heading. One without the markers keeps all it has, and the
    generated part follows it. ReportError where the markers are not one pair in order.
    """
    # Nothing of ours is HTML: whatever looks like it came with a name, and a page shows it instead of obeying it.
    part = f"{BEGIN}\n{HTML.sub('&lt;', plain(generated.strip()))}\n{END}"
    if not place.exists():
        return f"# {title}\n\n{part}\n"
    text = place.read_bytes().decode()  # not read_text, which would change their line ends
    begins, ends = text.count(BEGIN), text.count(END)
    if begins == ends == 0:
        return f"{text.rstrip()}\n\n{part}\n"
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if begins != 1 or ends != 1 or END in before:
        raise ReportError(
            f"{place}: the generated part must stand between one line {BEGIN} and, after it, one line {END}; there are "
            f"{begins} and {ends}. Mend them, or delete both and what is between"
        )
    return f"{before}{part}{after}"
