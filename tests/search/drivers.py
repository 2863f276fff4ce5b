"""Searches as a user starts them: a command in a process of its own, which may be killed."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


def margin_search(experiment, *settings):
    """The command of the main search on an experiment file."""
    return [sys.executable, str(REPOSITORY / "sweeps" / "margin_search.py"), f"experiment={experiment}", *settings]


def kill_when(command, env, log, said):
    """Start the search in a session of its own, kill its driver with SIGKILL once it has printed `said`."""
    with log.open("w") as output:
        driver = subprocess.Popen(command, env=env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True)
        deadline = time.monotonic() + 600
        while said not in log.read_text():
            assert driver.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)
        os.kill(driver.pid, signal.SIGKILL)
        driver.wait()
