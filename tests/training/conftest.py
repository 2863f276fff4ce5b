"""What tests of training share: processes that start quickly, forked from one that has loaded what they need.

They come with the environment that was that one's own.
"""

import multiprocessing

import pytest
import torch.multiprocessing as mp


@pytest.fixture(scope="session", autouse=True)
def loaded():
    """What the process to fork from loads, unless it is there already."""
    multiprocessing.set_forkserver_preload(["vgsr.training.loop", "torch._dynamo"])  # that by every optimiser


@pytest.fixture(scope="session")
def together(free_port):
    """Runs `function(rank, *arguments, port)` in so many processes, with the port at which they meet."""

    def run(processes, function, *arguments):
        mp.start_processes(function, (*arguments, free_port()), nprocs=processes, start_method="forkserver")

    return run


@pytest.fixture(scope="session")
def alone():
    """Runs `function(*arguments)` in a process of its own; its exit code."""

    def run(function, *arguments):
        process = multiprocessing.get_context("forkserver").Process(target=function, args=arguments)
        process.start()
        process.join()
        return process.exitcode

    return run
