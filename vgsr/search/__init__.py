"""Searches in two stages: Ray Tune + Optuna over overrides of one experiment, then the best of them with fresh seeds
beside their controls; tracked in MLflow, resumable by the same command.

A page in `sweeps/` says what is searched; everything else is here.
"""

from vgsr.search.plan import Base, Plan
from vgsr.search.run import main

__all__ = ["Base", "Plan", "main"]
