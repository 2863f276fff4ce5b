"""Commands, run in this process."""

import os
import sys
from unittest import mock

import pytest

from vgsr import cli


@pytest.fixture
def vgsr(monkeypatch, capsys, tmp_path):
    """Runs `vgsr …` here; returns (exit status, output)."""
    monkeypatch.setenv("VGSR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(cli.console, "width", 200)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["vgsr", *map(str, arguments)])
        # What a command sets in its environment ends with it.
        with mock.patch.dict(os.environ), pytest.raises(SystemExit) as ended:
            cli.main()
        return ended.value.code or 0, capsys.readouterr().out

    return run
