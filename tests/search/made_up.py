"""Arms of stage 2 whose scores are made up, so that it is known which one hears better."""

import numpy as np
import pyarrow as pa

from vgsr.evaluation.metrics import eer
from vgsr.search.gains import Arm
from vgsr.tracking import COMPLETED, PROTOCOL, TrackedRun

SPEAKERS, TARGETS, NONTARGETS, SEEDS = 50, 4, 16, (1, 2, 3)
LIST, LINE = "corpus_test", "trials corpus/test (1,000, digest abc)"
GOOD, FAIR, POOR = 0.2, 0.9, 1.6  # noise that a system adds to what every system hears


def scores(noise, seed):
    """A list of trials; what makes one hard is the same for all systems, the rest is the system's own."""
    shared, own = np.random.default_rng(0), np.random.default_rng([seed, int(1000 * noise)])
    label = np.tile([1] * TARGETS + [0] * NONTARGETS, SPEAKERS)
    speaker = np.repeat(np.arange(SPEAKERS), TARGETS + NONTARGETS)
    other = np.where(label, speaker, (speaker + shared.integers(1, SPEAKERS, len(label))) % SPEAKERS)
    heard = 2.0 * label + shared.normal(size=len(label))
    return pa.table(
        {
            "label": label.astype(np.int8),
            "enrol": [f"{s}/e{n}" for n, s in enumerate(speaker)],
            "test": [f"{s}/t{n}" for n, s in enumerate(other)],
            "enrol_speaker": [str(s) for s in speaker],
            "test_speaker": [str(s) for s in other],
            "score": heard + noise * own.normal(size=len(label)),
        }
    )


def arm(name, noise, seeds=SEEDS, val=0.1, lists=(LIST,), line=LINE, offset=0):
    """An arm's runs; noise may be another one on each list."""
    tables = {
        trials: {seed: scores(one, seed + offset) for seed in seeds}
        for trials, one in zip(lists, noise if isinstance(noise, tuple) else [noise] * len(lists), strict=True)
    }
    runs = []
    for seed in seeds:
        figures = {f"test_{t}_eer": eer(own[seed]["score"], own[seed]["label"]).value for t, own in tables.items()}
        tags = {"vgsr.trial": f"c-{name}-{seed}", "vgsr.reference": name, **{PROTOCOL + t: line for t in lists}}
        figures["best_val_eer"] = val + seed / 1000 if seed != 2 else val
        runs.append(TrackedRun(f"{name}/{seed}", name, COMPLETED, tags, {"seed": str(seed)}, figures, 1.0))
    return Arm(name, tuple(runs), tables)
