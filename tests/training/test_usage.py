"""What a worker takes: CPU time of all its processes, memory."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from vgsr.training import usage

# Burns the CPU seconds that it is told, in a grandchild that its parent, which lives on, waits for.
BURN = """
import subprocess, sys, time
burn = "import time\\nwhile time.process_time() < {}: pass".format(sys.argv[1])
subprocess.run([sys.executable, "-c", burn], check=True)
print("burnt", flush=True)
time.sleep(60)
"""


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs /proc")
def test_cpu_seconds_of_processes_that_live_and_that_have_ended_are_counted():
    before = usage.cpu_seconds()
    with subprocess.Popen([sys.executable, "-c", BURN, "0.5"], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout.readline() == "burnt\n"
        alive = usage.cpu_seconds() - before
        child.kill()
    ended = usage.cpu_seconds() - before
    # Of a killed parent the children it had waited for count too; ticks are coarse.
    assert 0.45 <= alive <= ended + 0.05 and ended < 5


def test_own_cpu_time_is_counted():
    before, used = usage.cpu_seconds(), time.process_time()
    while time.process_time() - used < 0.3:
        pass
    assert usage.cpu_seconds() - before >= 0.28


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs /proc")
def test_peak_memory_is_what_the_kernel_calls_the_high_water_mark():
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    assert usage.peak_memory() == pytest.approx(1024 * int(line.split()[1]), rel=0.05)


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs /proc")
def test_another_attempt_forgets_the_peak_of_the_one_before():
    held = bytearray(os.urandom(1)) * 300_000_000
    peak = usage.peak_memory()
    del held
    assert usage.peak_memory() == pytest.approx(peak, rel=0.02)  # the kernel counts in batches
    usage.forget_peaks(torch.device("cpu"))
    assert usage.peak_memory() < peak - 200_000_000
