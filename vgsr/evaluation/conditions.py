"""The conditions of the robustness protocol: utterances and recordings in, what happens to each utterance out.

    clean    {noise, babble, music} × {0, 5, 10, 15, 20} dB    reverberation    1, 2, 3 s of the utterance

The first sixteen are the protocol of ExU-Net, Diff-SV and NRSV-RC (a test set and MUSAN); the others are our additions.
Both sides of a trial are disturbed, each by its own draw (our definition). What an utterance gets depends on the seed,
the condition, its id and length, and the recordings there are: not on the other utterances, nor on any order.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch

from vgsr.data.audio import RATE, AudioError, read
from vgsr.data.augment import SILENT, reverberate
from vgsr.evaluation import noisy
from vgsr.evaluation.disturbances import FEWEST_VOICES, MOST_VOICES, NOISES, REVERBERATION, Disturbances, Recording
from vgsr.evaluation.embedding import Disturb, as_recorded

SNRS = (0.0, 5.0, 10.0, 15.0, 20.0)  # dB
DURATIONS = (1.0, 2.0, 3.0)  # s
UNITS = {**dict.fromkeys(NOISES, "dB"), "duration": "s"}  # of the levels
PURPOSE = "robustness"  # part of every draw: no other draw of ours has it
EDGE = 0.1  # s by which resampling may shorten a silence

DRAWS = pa.schema(
    [
        ("condition", pa.string()),
        ("utterance_id", pa.string()),
        ("files", pa.list_(pa.string())),  # relative to the folder of noise, or of impulse responses
        ("offsets", pa.list_(pa.float64())),  # s, one a file of noise
        ("snr", pa.float64()),  # dB; null where nothing is added
        ("start", pa.float64()),  # s; null where nothing is cut
        ("seconds", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Condition:
    """A kind of disturbance (clean, noise, babble, music, reverberation, duration) and its level in dB or s."""

    kind: str
    level: float | None = None

    @property
    def name(self) -> str:
        """As it is printed and stored: `babble 5 dB`, `duration 2 s`, `clean`."""
        return self.kind if self.level is None else f"{self.kind} {self.level:g} {UNITS[self.kind]}"


CLEAN = Condition("clean")
NOISY = tuple(Condition(kind, level) for kind in NOISES for level in SNRS)
ALL = (CLEAN, *NOISY, Condition(REVERBERATION), *(Condition("duration", level) for level in DURATIONS))


def possible(disturbances: Disturbances) -> tuple[Condition, ...]:
    """The conditions that there are recordings for, in the order of `ALL`."""
    return tuple(one for one in ALL if one.kind in disturbances.of or one.kind in ("clean", "duration"))


def draw(
    seconds: Mapping[str, float],
    seed: int,
    disturbances: Disturbances,
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> pa.Table:
    """What happens to each utterance (id → its length in s) under each possible condition: a table of `DRAWS`.

    Rows are in the order of `ALL`, then of ids; `clean` has none. `advance(done, total)` counts the conditions.
    AudioError where nothing can be drawn for an utterance but silence.
    """
    silence = cache(_longest_silence)
    wanted = [one for one in possible(disturbances) if one != CLEAN]
    tables = []
    for done, condition in enumerate(wanted, 1):
        rows = []
        for utterance in sorted(seconds):
            rng = noisy.generator(PURPOSE, str(seed), condition.name, utterance)
            fate = _fate(condition, rng, seconds[utterance], disturbances, silence)
            rows.append({"condition": condition.name, "utterance_id": utterance, **fate})
        tables.append(pa.Table.from_pylist(rows, DRAWS))
        advance(done, len(wanted))
    return pa.concat_tables(tables).combine_chunks()


def disturbed(draws: pa.Table, condition: Condition, disturbances: Disturbances) -> Disturb:
    """A function that does to an utterance what was drawn for it. AudioError where the noise drawn is silent.

    Noise: the powers over the whole utterance have the SNR exactly; silent speech stays as it is. Reverberation keeps
    length and power. Duration: an utterance that is not longer stays whole.
    """
    if condition == CLEAN:
        return as_recorded
    drawn = draws.filter(pc.equal(draws["condition"], condition.name)).to_pylist()
    fates = {row["utterance_id"]: row for row in drawn}
    there = {one.uri: (place, one.seconds) for place, one in enumerate(disturbances.of.get(condition.kind, ()))}

    def cut(utterance: str, wave: np.ndarray) -> np.ndarray:
        first = round(fates[utterance]["start"] * RATE)
        return wave[first : first + round((condition.level or 0) * RATE)]

    def reverberant(utterance: str, wave: np.ndarray) -> np.ndarray:
        place, _ = there[fates[utterance]["files"][0]]
        return reverberate(torch.from_numpy(wave).unsqueeze(0), disturbances.impulses, torch.tensor([place]))[0].numpy()

    def noised(utterance: str, wave: np.ndarray) -> np.ndarray:
        fate = fates[utterance]
        drawn = zip(fate["files"], fate["offsets"], strict=True)
        parts = [
            noisy.part(disturbances.path(condition.kind, uri), there[uri][1], offset, len(wave))
            for uri, offset in drawn
        ]
        mean = np.mean(parts, axis=0)
        if not noisy.heard(mean):
            raise AudioError(fate["files"][0], f"silent where {utterance} is to have it ({condition.name})")
        return noisy.at_snr(wave, mean, fate["snr"])

    return {"duration": cut, REVERBERATION: reverberant}.get(condition.kind, noised)


def _fate(
    condition: Condition,
    rng: np.random.Generator,
    seconds: float,
    disturbances: Disturbances,
    silence: Callable[[str], float],
) -> dict[str, Any]:
    """The columns of `DRAWS` that are not null for an utterance of so many seconds."""
    if condition.kind == "duration":
        spare = max(0.0, seconds - (condition.level or 0))
        return {
            "start": int(rng.random() * spare * RATE) / RATE,
            "seconds": seconds - spare,
            "files": [],
            "offsets": [],
        }
    there = disturbances.of[condition.kind]
    if condition.kind == REVERBERATION:
        return {"files": [one.uri for one in _distinct(rng, there, 1)], "offsets": []}
    for _ in range(noisy.DRAWS):
        most = min(MOST_VOICES, len(there)) - FEWEST_VOICES + 1
        chosen = _distinct(rng, there, FEWEST_VOICES + int(rng.random() * most) if condition.kind == "babble" else 1)
        offsets = [_offset(rng, one.seconds, seconds) for one in chosen]
        paths = [disturbances.path(condition.kind, one.uri) for one in chosen]
        if all(
            silence(path) < seconds - EDGE or noisy.heard(noisy.part(path, one.seconds, offset, round(seconds * RATE)))
            for path, one, offset in zip(paths, chosen, offsets, strict=True)
        ):
            return {"files": [one.uri for one in chosen], "offsets": offsets, "snr": condition.level}
    raise AudioError(paths[0], f"{noisy.DRAWS} parts of it and of the other recordings of {condition.kind} are silent")


def _distinct(rng: np.random.Generator, there: Sequence[Recording], count: int) -> list[Recording]:
    left = list(there)
    return [left.pop(int(share * len(left))) for share in rng.random(count)]


def _offset(rng: np.random.Generator, there: float, wanted: float) -> float:
    """A moment of a recording of `there` s, on a sample: one that leaves `wanted` s, or any where it goes round."""
    spare = there - wanted if there > wanted else there
    return int(rng.random() * spare * RATE) / RATE


def _longest_silence(path: str) -> float:
    """The longest stretch of a recording that is digital silence, in s: only what is no longer can fall into it."""
    wave = read(path)
    sounding = np.flatnonzero(np.square(wave, dtype=np.float64) > SILENT)
    return float(np.diff(sounding, prepend=-1, append=len(wave)).max() - 1) / RATE
