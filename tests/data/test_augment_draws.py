"""Draws: a function of their streams, and each a matter of its own settings alone."""

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr.config.augment import Augment
from vgsr.data import batches
from vgsr.data.augment import BANDS, Draw, Kind, NoiseSource, draw, stack
from vgsr.data.batches import Stream

NOTHING = NoiseSource((), ())
PLAIN = (Kind("noise", NOTHING, (0.0, 20.0)),)
KINDS = (
    Kind("noise", NOTHING, (0.0, 15.0)),
    Kind("music", NOTHING, (20.0, 30.0), weight=2.0),
    Kind("babble", NOTHING, (40.0, 50.0), voices=(3, 7)),
)
ALL: dict[str, Any] = {
    "noise_probability": 0.5,
    "rir_probability": 0.5,
    "speeds": (1.0, 0.9, 1.1),
    "band_probability": 0.5,
    "time_mask": 10,
    "frequency_mask": 8,
    "time_masks": 2,
    "frequency_masks": 2,
}


def streams(seed: int, position: int = 0) -> Callable[[Stream], np.random.Generator]:
    return partial(batches.generator, seed, 0, position)


def drawn(seed: int, kinds: tuple[Kind, ...] = KINDS, rirs: int = 4, **changes: Any) -> Draw:
    return draw(streams(seed), Augment(**{**ALL, **changes}), frames=200, kinds=kinds, rirs=rirs)[0]


def test_draws_are_a_function_of_the_streams() -> None:
    assert [drawn(seed) for seed in range(9)] == [drawn(seed) for seed in range(9)]
    assert len({drawn(seed) for seed in range(9)}) == 9


# What is switched off, and the fields of a draw that may then be another.
PARTS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"noise_probability": 0.0}, ("snr_db",)),
    ({"kinds": ()}, ("snr_db", "kind")),
    ({"kinds": PLAIN}, ("snr_db", "kind")),
    ({"rir_probability": 0.0}, ("rir_index",)),
    ({"rirs": 0}, ("rir_index",)),
    ({"speeds": (1.0,)}, ("speed",)),
    ({"speeds_as_speakers": False}, ()),
    ({"band_probability": 0.0}, ("band",)),
    ({"time_mask": 0}, ("masks",)),
    ({"time_masks": 1, "frequency_masks": 1}, ("masks",)),
]


@given(seed=st.integers(0, 2**32), part=st.sampled_from(PARTS), exclusive=st.booleans())
def test_a_part_that_is_switched_off_leaves_the_others_alone(
    seed: int, part: tuple[dict[str, Any], tuple[str, ...]], exclusive: bool
) -> None:
    changes, own = part
    full, without = drawn(seed, exclusive=exclusive), drawn(seed, exclusive=exclusive, **changes)
    nothing = {"snr_db": math.inf, "kind": 0, "rir_index": -1, "speed": 0, "band": -1}
    if math.isinf(full.snr_db) and not any(name in changes for name in ("kinds",)):
        assert math.isinf(without.snr_db)
    assert replace(without, **{name: getattr(full, name) for name in own}) == full
    for name in own:
        if name in nothing and changes != {"kinds": PLAIN}:
            assert getattr(without, name) == nothing[name]
    if "time_mask" in changes:
        assert [mask[2:] for mask in without.masks] == [mask[2:] for mask in full.masks]
        assert all(mask[1] == 0 for mask in without.masks)
    if "time_masks" in changes:
        assert without.masks == full.masks[:1]


@given(seed=st.integers(0, 2**32))
def test_draws_of_earlier_versions_are_as_they_were(seed: int) -> None:
    """Eight numbers of one stream decide noise, its level, reverberation, the room and a mask of each; the same stream
    goes on to draw the noise."""
    old = {name: ALL[name] for name in ("noise_probability", "rir_probability", "time_mask", "frequency_mask")}
    now, rng = draw(streams(seed), Augment(**old), frames=200, kinds=PLAIN, rirs=4)
    then = streams(seed)(Stream.AUGMENT)
    noisy, level, reverberant, rir, time, start, width, low = then.random(8)
    assert now.snr_db == (20 * level if noisy < 0.5 else math.inf)
    assert now.rir_index == (int(4 * rir) if reverberant < 0.5 else -1)
    ((frame, frames, mel, bins),) = now.masks
    assert (frames, bins) == (int(time * 11), int(width * 9))
    assert (frame, mel) == (int(start * (200 - frames + 1)), int(low * (80 - bins + 1)))
    assert (now.kind, now.speed, now.band) == (0, 0, -1)
    assert rng.random() == then.random()


def test_probabilities_ranges_and_kinds() -> None:
    draws = [drawn(seed) for seed in range(3000)]
    noisy = [one for one in draws if math.isfinite(one.snr_db)]
    assert len(noisy) / 3000 == pytest.approx(0.5, abs=0.04)
    kinds = Counter(one.kind for one in noisy)
    assert [kinds[place] / len(noisy) for place in range(3)] == pytest.approx([0.25, 0.5, 0.25], abs=0.04)
    for place, (low, high) in enumerate(kind.snr for kind in KINDS):
        levels = [one.snr_db for one in noisy if one.kind == place]
        assert low <= min(levels) < low + 0.5 and high - 0.5 < max(levels) <= high
        assert np.mean(levels) == pytest.approx((low + high) / 2, abs=0.8)
    assert {one.rir_index for one in draws} == {-1, 0, 1, 2, 3}
    speeds, bands = (Counter(getattr(one, name) for one in draws) for name in ("speed", "band"))
    assert [speeds[place] / 3000 for place in range(3)] == pytest.approx([1 / 3] * 3, abs=0.03)
    assert bands[-1] / 3000 == pytest.approx(0.5, abs=0.04)
    assert [bands[place] / 1500 for place in range(len(BANDS))] == pytest.approx([0.25] * 4, abs=0.04)
    both = sum(one.rir_index >= 0 for one in noisy)
    assert both / len(noisy) == pytest.approx(0.5, abs=0.05)  # independent of each other


def test_noise_or_reverberation_but_never_both() -> None:
    """WeSpeaker's shares: three utterances of ten get noise, three others reverberation."""
    shares = {"noise_probability": 0.3, "rir_probability": 0.3, "exclusive": True}
    draws = [drawn(seed, **shares) for seed in range(3000)]
    noisy, wet = ({at for at, one in enumerate(draws) if test(one)} for test in (is_noisy, is_wet))
    assert len(noisy) / 3000 == pytest.approx(0.3, abs=0.03) and len(wet) / 3000 == pytest.approx(0.3, abs=0.03)
    assert not noisy & wet
    all_of_them = [drawn(seed, exclusive=True, noise_probability=0.4, rir_probability=0.6) for seed in range(300)]
    assert all(is_noisy(one) != is_wet(one) for one in all_of_them)


def is_noisy(one: Draw) -> bool:
    return math.isfinite(one.snr_db)


def is_wet(one: Draw) -> bool:
    return one.rir_index >= 0


def test_nothing_is_the_default() -> None:
    one, _ = draw(streams(0), Augment(), frames=200)
    assert replace(one, masks=()) == Draw() and all(width == height == 0 for _, width, _, height in one.masks)


def test_stack_of_draws() -> None:
    one = Draw(5.0, 1, 2, 1, 3, ((3, 4, 5, 6), (7, 8, 0, 0)))
    stacked = stack([Draw(masks=((0,) * 4, (0,) * 4)), one])
    assert stacked.snr_db.tolist() == [math.inf, 5.0]
    assert stacked.rir_index.tolist() == [-1, 2]
    assert stacked.speed.tolist() == [0, 1] and stacked.band.tolist() == [-1, 3]
    assert stacked.masks.tolist() == [[[0, 0, 0, 0], [0, 0, 0, 0]], [[3, 4, 5, 6], [7, 8, 0, 0]]]
