"""Does the face teacher help, and which part of the method does it? Arms of one experiment, each by several seeds.

    python sweeps/comparison.py seeds=3                                       # the demo, minutes on a laptop
    python sweeps/comparison.py experiment=my.yaml seeds=5                    # your corpus
    ray job submit --working-dir . -- python sweeps/comparison.py …           # on a running cluster

The experiment is the full method: its margin is what MKD means here, its quality signals are what QAW means. Nothing
is searched and nothing pruned; each arm runs with `seeds` seeds, 3 unless told otherwise. `vgsr compare` and `vgsr
report` read what this leaves in MLflow.
"""

from typing import Any

from vgsr.search import Plan, main

HARD = {"distill.margin.kind": "hinge", "distill.margin.unit": "absolute", "distill.margin.value": 0.0}
UNWEIGHTED: dict[str, Any] = {"quality.signals": []}

ARMS: dict[str, dict[str, Any]] = {
    "no teacher": {"distill": {"method": "none"}, **UNWEIGHTED},
    "hard KD": {**HARD, **UNWEIGHTED},
    "MKD": UNWEIGHTED,
    "MKD + QAW": {},
    "shuffled faces": {"teacher.control": "shuffled"},
}

PLAN = Plan("comparison", None, ARMS)

if __name__ == "__main__":
    main(PLAN)
