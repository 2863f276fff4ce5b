"""Which distillation method, and how loosely? A search over the method, its margin and its weight.

    python sweeps/method_search.py                                            # the demo, minutes on a laptop
    python sweeps/method_search.py experiment=my.yaml trials=96               # your corpus
    ray job submit --working-dir . -- python sweeps/method_search.py …        # on a running cluster

The same numbers mean the same for every method: a margin is a share of the margins worth searching for it, or a level
of its running distribution; λ is a factor of its own default.

The best configurations are then confirmed with seeds of their own, beside the winner without a teacher, as a hard
constraint (margin 0), and with every speaker taught by another one's faces, a control: what is gained from those is not
knowledge of faces. With `top=0` the experiment, changed in these ways, runs beside the searched trials instead.
"""

from typing import Any

import margin_search
import optuna

from vgsr.distill import METHODS, find
from vgsr.search import Base, Plan, main


def space(trial: optuna.Trial, base: Base) -> dict[str, Any]:
    """Any method there is, those of plugins included, with a hard or a soft-edged margin."""
    method = find(trial.suggest_categorical("method", sorted(METHODS)))
    unit = trial.suggest_categorical("unit", ["absolute", "quantile"])
    if unit == "absolute":
        low, high = method.margin_range
        margin = low + (high - low) * trial.suggest_float("share", 0.0, 1.0)
    else:
        margin = trial.suggest_float("level", 0.05, 0.95)
    return {
        "distill.method": method.name,
        "distill.options": base.options(method),
        "distill.weight": method.weight * trial.suggest_float("factor", 0.1, 10.0, log=True),
        "distill.margin.kind": trial.suggest_categorical("kind", ["hinge", "softplus"]),
        "distill.margin.unit": unit,
        "distill.margin.value": margin,
    }


REFERENCES: dict[str, dict[str, Any]] = {
    **margin_search.REFERENCES,
    "shuffled faces": {"teacher.control": "shuffled"},
}

PLAN = Plan("method-search", space, REFERENCES)

if __name__ == "__main__":
    main(PLAN)
