"""What tests of training share: processes of one group, started quickly."""

import multiprocessing

import pytest
import torch.multiprocessing as mp


@pytest.fixture(scope="session")
def together(free_port):
    """Runs `function(rank, *arguments, port)` in so many processes, with the port at which they meet; they are forked
    from a process that has loaded what they need, and come with the environment that was its own."""
    multiprocessing.set_forkserver_preload(["vgsr.training.loop"])

    def run(processes, function, *arguments):
        mp.start_processes(function, (*arguments, free_port()), nprocs=processes, start_method="forkserver")

    return run
