"""How much an MLflow server takes from the outbox, and how long a caller waits for the outbox itself.

`python tests/benchmarks/outbox.py [TRIALS] [EPOCHS]`: a search of so many concurrent trials (40 figures and 2 × 50 step
figures an epoch), first with all trials in one outbox, then with an outbox for each trial, against a real server
(one worker, SQLite) on loopback; then in one outbox against a server that takes 0.2 s longer for every answer. Prints
the time of a put (on the disk when it returns), how long until MLflow has everything, and what it holds.
"""

import socket
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.faulty import Faulty
from tests.tracking.mlflow_server import Server
from vgsr import tracking
from vgsr.tracking import Outbox

FIGURES, STEPS = 40, 50


def row(epoch):
    """A row as a training makes them."""
    figures = {f"figure_{n}": epoch + n / 1000 for n in range(FIGURES)}
    steps = {name: [float(n) for n in range(STEPS)] for name in ("loss", "active")}
    return {"epoch": epoch, **figures, "steps": steps, "first_step": (epoch - 1) * STEPS}


def timed(seconds, put, *args, **kwargs):
    """Call `put` and note how long it took."""
    begin = time.perf_counter()
    put(*args, **kwargs)
    seconds.append(time.perf_counter() - begin)


def report(name, server, search, seconds, began, trials, epochs):
    """Print a line; what the database holds must be what was put."""
    drained = time.perf_counter() - began
    figures, states = server.histories(search)
    metrics = sum(len(values) for keys in figures.values() for values in keys.values())
    assert metrics == trials * epochs * (FIGURES + 2 * STEPS + 1), metrics
    assert {states[f"t{trial}"] for trial in range(trials)} == {"FINISHED"}
    cuts = statistics.quantiles(seconds, n=20)
    print(
        f"{name}: {len(seconds)} events, put p50 {1e3 * cuts[9]:.1f} ms, p95 {1e3 * cuts[18]:.1f} ms; "
        f"all in MLflow after {drained:.1f} s ({len(seconds) / drained:.0f} events/s, "
        f"{metrics / drained:.0f} figures/s)",
        flush=True,
    )


def one_outbox(name, url, server, folder, search, trials, epochs):
    """A driver with all trials."""
    box, seconds, began = Outbox(tracking.connect(url), folder), [], time.perf_counter()
    timed(seconds, box.open, search, "", name=search, tags={}, experiment=None)
    for trial in range(trials):
        timed(seconds, box.open, search, f"t{trial}", name=f"t{trial}", tags={}, experiment=None)
    for epoch in range(1, epochs + 1):
        for trial in range(trials):
            timed(seconds, box.row, search, f"t{trial}", row(epoch))
            timed(seconds, box.tag, search, f"t{trial}", {"vgsr.checkpoint": f"/c/{epoch}"})
    for trial in range(trials):
        timed(seconds, box.close_run, search, f"t{trial}", tracking.COMPLETED)
    timed(seconds, box.close_run, search, "", tracking.COMPLETED)
    assert box.close() == 0 and not box.refused
    report(name, server, search, seconds, began, trials, epochs)


def many_outboxes(name, url, server, folder, search, trials, epochs):
    """So many drivers with a trial each."""
    seconds, began = [], time.perf_counter()

    def drive(trial):
        box = Outbox(tracking.connect(url), folder / str(trial))
        timed(seconds, box.open, search, f"t{trial}", name=f"t{trial}", tags={}, experiment=None)
        for epoch in range(1, epochs + 1):
            timed(seconds, box.row, search, f"t{trial}", row(epoch))
            timed(seconds, box.tag, search, f"t{trial}", {"vgsr.checkpoint": f"/c/{epoch}"})
        timed(seconds, box.close_run, search, f"t{trial}", tracking.COMPLETED)
        assert box.close() == 0 and not box.refused

    threads = [threading.Thread(target=drive, args=(trial,)) for trial in range(trials)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report(name, server, search, seconds, began, trials, epochs)


def main():
    """All three."""
    trials, epochs = (int(sys.argv[at]) if len(sys.argv) > at else default for at, default in ((1, 50), (2, 20)))
    with tempfile.TemporaryDirectory() as place, socket.socket() as probe:
        folder = Path(place)
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
        probe.close()
        server = Server(folder, port)
        server.start()
        try:
            one_outbox("one outbox", server.url, server, folder / "one", "one", trials, epochs)
            many_outboxes("an outbox for each trial", server.url, server, folder / "many", "many", trials, epochs)
            proxy = Faulty(server.url)
            proxy.delay = 0.2
            one_outbox("one outbox, answers 0.2 s later", proxy.url, server, folder / "slow", "slow", trials, epochs)
            proxy.stop()
        finally:
            server.kill()
            log = (folder / "server.log").read_text().splitlines()
            print(f"{len(log)} lines in the server's log, {sum(' 500' in line for line in log)} answers 500")


if __name__ == "__main__":
    main()
