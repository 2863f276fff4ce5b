"""The view of quality signals: a manifest and a teacher bank in; tables and contact sheets out, for a person to judge
whether the signals mean anything before they weigh a loss. Nothing of it is used by training."""

from vgsr.quality.view import show

__all__ = ["show"]
