"""How loose should the teacher's hold be? A search over the margin, its unit and the weight of distillation.

    python sweeps/margin_search.py                                            # the demo, minutes on a laptop
    python sweeps/margin_search.py experiment=my.yaml trials=48               # your corpus
    ray job submit --working-dir . -- python sweeps/margin_search.py …        # on a running cluster

The best configurations are then confirmed with seeds of their own, beside the winner without a teacher, as a hard
constraint (margin 0) and with shuffled faces; only what is shown to be better than no teacher becomes the champion.
`top=0` leaves that out, and no teacher and the hard constraint run beside the searched trials. `--dry-run` shows what a
search would be. The same command goes on with one that was killed.
"""

from typing import Any

import optuna

from vgsr.search import Base, Plan, main


def space(trial: optuna.Trial, base: Base) -> dict[str, Any]:
    """A margin in the method's own unit or as a level of its running distribution; λ around the method's default."""
    method = base.method
    unit = trial.suggest_categorical("unit", ["absolute", "quantile"])
    if unit == "absolute":
        margin = trial.suggest_float("margin", *method.margin_range)
    else:
        margin = trial.suggest_float("level", 0.05, 0.95)
    weight = trial.suggest_float("weight", method.weight / 10, method.weight * 10, log=True)
    return {"distill.margin.unit": unit, "distill.margin.value": margin, "distill.weight": weight}


REFERENCES: dict[str, dict[str, Any]] = {
    "no teacher": {"distill": {"method": "none"}},
    "hard constraint": {
        "distill.margin.kind": "hinge",
        "distill.margin.unit": "absolute",
        "distill.margin.value": 0.0,
    },
}

PLAN = Plan("margin-search", space, REFERENCES)

if __name__ == "__main__":
    main(PLAN)
