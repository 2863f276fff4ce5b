"""What a worker takes of its machine: CPU time, memory, GPU memory; of an epoch, over all workers.

In: processes of this machine, as its kernel counts them. Out: the health figures of a row.
"""

import gc
import os
import re
import resource
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import torch

from vgsr.training.gather import collect
from vgsr.training.session import Row, Session

MB = 1e6
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes of one `ru_maxrss`


def epoch_meter(session: Session) -> Callable[[], Row]:
    """Starts an epoch; the call that it returns ends it, on every worker, and gives what the epoch took.

    cpu_seconds: of the workers and the processes that read for them, all together. peak_memory_mb: the largest that a
    worker has been (resident, without the processes that read for it; 10⁶ bytes). peak_gpu_memory_mb: the most that
    PyTorch has held for tensors, on the fullest GPU; only with CUDA. Peaks are of the whole attempt (`forget_peaks`).
    """
    before, gpu = cpu_seconds(), session.device.type == "cuda"

    def close() -> Row:
        held = torch.cuda.max_memory_allocated(session.device) if gpu else 0
        own = (cpu_seconds() - before, peak_memory() / MB, held / MB)
        spent, resident, on_gpu = zip(*collect(own, session.world, session.device), strict=True)
        figures = {"cpu_seconds": sum(spent), "peak_memory_mb": max(resident)}
        return figures | ({"peak_gpu_memory_mb": max(on_gpu)} if gpu else {})

    return close


def peak_memory() -> int:
    """The most bytes this process has had in memory, since it forgot its peaks."""
    with suppress(OSError):
        found = re.search(r"^VmHWM:\s*(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
        if found:
            return int(found[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT


def forget_peaks(device: torch.device) -> None:
    """Another attempt begins in this process. Only Linux can forget the peak of a process' memory."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # see proc_pid_clear_refs(5)
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def free() -> None:
    """What a run has held is the next one's."""
    gc.collect()  # a model and its gradients refer to each other
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def cpu_seconds() -> float:
    """CPU time of this process and of all that it has started, those that have ended included.

    The processes that read ahead are children of a server, and a parent's own count hears of a child only when it has
    ended; so on Linux all living descendants are asked. Elsewhere the children that have ended are counted.
    """
    times = os.times()
    own = times.user + times.system + times.children_user + times.children_system
    stats = dict(filter(None, map(_stat, Path("/proc").glob("[0-9]*/stat"))))
    children: dict[int, list[int]] = {}
    for process, (parent, _) in stats.items():
        children.setdefault(parent, []).append(process)
    waiting, ticks = list(children.get(os.getpid(), ())), 0
    while waiting:
        process = waiting.pop()
        ticks += stats[process][1]
        waiting += children.get(process, ())
    return own + ticks / os.sysconf("SC_CLK_TCK")


def _stat(file: Path) -> tuple[int, tuple[int, int]] | None:
    """Process, parent and clock ticks (its own, and those of its ended children), see proc_pid_stat(5)."""
    try:
        fields = file.read_text(errors="replace").rpartition(")")[2].split()
    except OSError:  # it has just ended
        return None
    return int(file.parent.name), (int(fields[1]), sum(map(int, fields[11:15])))
