"""What reaches a person's terminal: errors as one message, and no text that does more than be read.

What VGSR itself raises is one message and exit status 2, anything else keeps its traceback. Names of speakers, runs and
files may be anybody's: on a `PlainConsole` they are letters, never commands to the terminal, nor rich's markup.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

# Control characters as the signs that Unicode has for them, and marks that turn the direction of writing as a box.
SIGNS = {
    **{code: 0x2400 + code for code in range(0x20) if chr(code) not in "\n\t"},
    0x7F: 0x2421,
    **dict.fromkeys([*range(0x80, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)], 0x25A1),
}


class PlainConsole(Console):
    """A console that shows control characters instead of sending them to the terminal, and reads no markup."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"markup": False, **settings})

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich does it, each text made plain."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(plain(segment.text), segment.style)


def plain(text: str) -> str:
    """A text whose control characters, apart from tabs and ends of lines, are signs that can be seen."""
    return text.translate(SIGNS)


@contextmanager
def told(console: Console) -> Iterator[None]:
    """Print an error of ours, whose text says what to do, and exit with 2; let every other one through."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("vgsr."):
            raise
        console.print(str(error), style="red", markup=False, highlight=False, soft_wrap=True)
        raise SystemExit(2) from error
