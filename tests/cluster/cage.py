"""Runs a command, and ends every process that came of it once this one's standard input closes.

    python cage.py NAME COMMAND…

Ray's processes leave their parents and process groups, so neither finds them all. Linux gives a process whose parent
died to the nearest ancestor that asked for it, here this one; and standard input closes however its owner ends. So
nothing outlives a test, not one that was killed either, and no other Ray on the machine is touched.
"""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from pathlib import Path

PR_SET_CHILD_SUBREAPER = 36  # <linux/prctl.h>


def descendants(pid: int) -> list[int]:
    """All living processes that came of a process."""
    children: dict[int, list[int]] = {}
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # ended meanwhile
            state, parent = status.read_text().rpartition(")")[2].split()[:2]
            if state != "Z":
                children.setdefault(int(parent), []).append(int(status.parent.name))
    found = children.get(pid, [])[:]
    for one in found:  # grows while it is read
        found += children.get(one, [])
    return found


def command(pid: int) -> str:
    """A process' command line, or the title that it gave itself; empty when it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ").strip()
    except OSError:
        return ""


def signalled(pids: list[int], number: int) -> None:
    """Send a signal to processes, some of which may have ended."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def main() -> None:
    """Start the command; wait for standard input to close; kill until nobody is left."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
    sys.stdin.read()
    with contextlib.suppress(ChildProcessError):
        while True:
            signalled(descendants(os.getpid()), signal.SIGKILL)
            os.waitpid(-1, 0)


if __name__ == "__main__":
    main()
