"""Which of a manifest's trial lists is for what: one is for choosing and calibrating, the others are for the end."""

from collections.abc import Sequence

from vgsr.data.manifest import Manifest, ManifestError

VALIDATION = "validation"  # of held-out training speakers


def test_lists(manifest: Manifest, names: Sequence[str]) -> list[str]:
    """The trial lists to test on: `names`, or every list of the manifest but the validation list."""
    return list(names) or [name for name in manifest.trials if name != VALIDATION]


def some_test_lists(manifest: Manifest, names: Sequence[str]) -> list[str]:
    """`test_lists`; ManifestError where there is none."""
    found = test_lists(manifest, names)
    if not found:
        raise ManifestError(f"{manifest.place}: no trial list in it to evaluate on")
    return found
