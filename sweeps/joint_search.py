"""Everything at once, for speech in quiet and in noise: the method, its margin and weight, and the quality weights.

    python sweeps/joint_search.py                                             # the demo, minutes on a laptop
    python sweeps/joint_search.py experiment=my.yaml trials=192               # your corpus
    ray job submit --working-dir . -- python sweeps/joint_search.py …         # on a running cluster

The experiment says in which noise and at which SNRs it is validated: `evaluate.noise`, `evaluate.snr`; with three SNRs
a validation takes four times as long. Two figures are to be small, the EER in quiet and the mean EER over the SNRs;
what comes out is the front: the trials that no other trial beats in both. Trials are pruned by the first. Of the front,
those with the lowest first figure are confirmed, as in the other searches.
"""

from typing import Any

import method_search
import optuna
import quality_search

from vgsr.search import Base, Plan, main


def space(trial: optuna.Trial, base: Base) -> dict[str, Any]:
    """A method with its margin and λ, and which samples are trusted."""
    return {**method_search.space(trial, base), **quality_search.space(trial, base)}


# No teacher, the hard constraint, shuffled faces; no weights.
REFERENCES: dict[str, dict[str, Any]] = {**method_search.REFERENCES, **quality_search.REFERENCES}

PLAN = Plan("joint-search", space, REFERENCES, metrics=("best_val_eer", "best_val_noisy_eer"))

if __name__ == "__main__":
    main(PLAN)
