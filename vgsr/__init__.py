"""Vision-guided speaker recognition: a face teacher, a speech student, and the laboratory around them."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vgsr.speaker import Speaker

__version__ = "0.1.0"


def load(place: str | Path, device: str = "cpu") -> "Speaker":
    """The finished model at a place: a folder, `s3://…`, `runs:/ID`, `models:/vgsr@champion`, SEARCH/ARM.

    FetchError when there is none, CheckpointError when it cannot be used.
    """
    # Inside: whoever imports a part of VGSR must not wait for all of it to load.
    from vgsr import fetch, speaker

    return speaker.load(fetch.checkpoint(place), device)
