"""Which samples should be trusted? A search over the quality signals and how they weigh a sample.

    python sweeps/quality_search.py                                           # the demo, minutes on a laptop
    python sweeps/quality_search.py experiment=my.yaml trials=64              # your corpus
    ray job submit --working-dir . -- python sweeps/quality_search.py …       # on a running cluster

Each signal that is known for the corpus and the teacher's bank is on or off; the method and its margin are the
experiment's. The best configurations are then confirmed with seeds of their own, beside the winner without a teacher,
without weights, as a hard constraint and with shuffled faces.
"""

from typing import Any

import optuna

from vgsr.search import Base, Plan, main


def space(trial: optuna.Trial, base: Base) -> dict[str, Any]:
    """Any set of signals, the empty one too; how steep, how merciful, and what they weigh."""
    signals = [name for name in base.signals if trial.suggest_categorical(name, [False, True])]
    if not signals:
        return {"quality.signals": []}
    return {
        "quality.signals": signals,
        "quality.temperature": trial.suggest_float("temperature", 0.25, 4.0, log=True),
        "quality.floor": trial.suggest_float("floor", 0.0, 0.5),
        "quality.combine": trial.suggest_categorical("combine", ["product", "mean"]),
        "quality.apply_to": trial.suggest_categorical("apply_to", ["distillation", "classification", "both"]),
    }


REFERENCES: dict[str, dict[str, Any]] = {
    "no teacher": {"distill": {"method": "none"}},
    "no weights": {"quality.signals": []},
}

PLAN = Plan("quality-search", space, REFERENCES)

if __name__ == "__main__":
    main(PLAN)
