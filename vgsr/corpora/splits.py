"""Who trains, who validates, who tests: speakers in, the split of each out."""

from collections.abc import Iterable, Mapping
from types import MappingProxyType

import numpy as np

from vgsr.corpora.registry import CorpusError

FEWEST = 2  # a held-out split of one speaker has no trial between speakers
NOBODY: Mapping[str, str] = MappingProxyType({})


def check_shares(validation: float, test: float) -> None:
    """CorpusError unless both are shares and together hold out no more than all speakers."""
    for name, share in (("validation", validation), ("test", test)):
        if not 0 <= share <= 1:
            raise CorpusError(f"{name} share {share:g}: must lie between 0 and 1")
    if validation + test > 1 + 1e-9:
        raise CorpusError(f"validation and test shares add up to {validation + test:g}: more than 1 (everybody)")


def split_speakers(
    speakers: Iterable[str],
    *,
    validation: float,
    test: float,
    seed: int,
    test_first: frozenset[str] = frozenset(),
    fixed: Mapping[str, str] = NOBODY,
) -> dict[str, str]:
    """Split of every speaker, drawn by `seed` and independent of the order given.

    validation and test are shares of the speakers, rounded; a share above 0 holds out at least two
    speakers. Speakers in `test_first` are taken for the test before others. What is left trains; only
    shares that add up to 1 leave nobody to train. CorpusError when the shares or the number of speakers do
    not allow it.

    `fixed` names the split of some speakers. Who is fixed to test or to validate does so, and the share of that split
    is not drawn any more; the validation share is drawn from those fixed to train and those not fixed. Where all are
    fixed to test, nobody is drawn.
    """
    check_shares(validation, test)
    everybody = set(speakers)
    held_out = {name: split for name, split in fixed.items() if split != "train" and name in everybody}
    validation = 0.0 if "validation" in held_out.values() else validation
    test = 0.0 if "test" in held_out.values() else test
    names = sorted(everybody - held_out.keys())
    if held_out and not names:
        return held_out
    rng = np.random.default_rng([seed, 1])
    order = [names[i] for i in rng.permutation(len(names))]
    order = [s for s in order if s in test_first] + [s for s in order if s not in test_first]
    tests, validations = (max(FEWEST, round(len(names) * s)) if s > 0 else 0 for s in (test, validation))
    training = validation + test < 1 - 1e-9
    if not training:
        # Rounding both shares may overshoot by one speaker when nobody is left over to absorb it.
        validations = max(0, min(validations, len(names) - tests))
    needed = tests + validations + (FEWEST if training else 0)
    if len(names) < needed or (validation > 0 and validations < FEWEST):
        raise CorpusError(
            f"too few speakers: {len(names)} found, {needed} needed ({tests} test, {validations} validation"
            f"{f', at least {FEWEST} to train' if training else ''}); add speakers or hold out smaller shares"
        )
    places = ["test"] * tests + ["validation"] * validations
    places += ["train" if training else "test"] * (len(names) - len(places))
    return held_out | dict(zip(order, places, strict=True))
