"""The pool on Ray does what one process does, whoever dies: an actor, the driver, or one actor after the other."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from rich.console import Console

from vgsr.data.manifest import Manifest
from vgsr.extraction import actor, parts, pool
from vgsr.extraction.parts import FATAL, ExtractionError, Part

from . import backwards
from .backwards import Backwards

QUIET = Console(quiet=True)
OWN = {"RAY_ADDRESS": "local", "RAY_AUTH_MODE": "disabled", "OMP_NUM_THREADS": "1"}


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two cores, which this process has joined."""
    import ray
    from ray import cloudpickle

    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith("RAY")]:
            patch.delenv(name)
        for name, value in OWN.items():
            patch.setenv(name, value)
        cloudpickle.register_pickle_by_value(backwards)
        pool.room(gpu=False)
        yield ray.get_runtime_context().gcs_address
        ray.shutdown()
        cloudpickle.unregister_pickle_by_value(backwards)


@pytest.fixture
def folder(tmp_path: Path) -> str:
    """A folder for parts, and beside it one for the traces of the work."""
    (tmp_path / "parts.trace").mkdir()
    return str(tmp_path / "parts")


def results(folder: str, made: list[Part]) -> list[dict[str, str | None]]:
    return pa.concat_tables(parts.finished(folder, made)).to_pylist()


def expected(names: Manifest, tmp_path: Path) -> list[dict[str, str | None]]:
    """What one process makes of the names."""
    folder = str(tmp_path / "expected")
    return results(folder, pool.run(Backwards(), names, folder, console=QUIET))


def processes(folder: str) -> dict[str, list[int]]:
    """The processes that worked on each name."""
    return {file.name: [*map(int, file.read_text().split())] for file in Path(f"{folder}.trace").iterdir()}


def wait_for(what: str, condition) -> None:  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 400
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def lives(pid: int) -> bool:
    return bool(stat(pid)) and stat(pid)[0] != "Z"


def stat(pid: int | str) -> list[str]:
    """State, parent, … of a process (proc(5)); empty where there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def family(pid: int) -> dict[int, str]:
    """All processes that descend from one, and their command lines."""
    parents = {int(one): int(known[1]) for one in os.listdir("/proc") if one.isdigit() and (known := stat(one))}
    found = {pid}
    while more := {one for one, parent in parents.items() if parent in found} - found:
        found |= more
    return {one: Path(f"/proc/{one}/cmdline").read_text() for one in found - {pid}}


def test_two_actors_do_what_one_process_does(cluster: str, names: Manifest, folder: str, tmp_path: Path) -> None:
    work = Backwards(trace=f"{folder}.trace", slow=0.01)
    made = pool.run(work, names, folder, actors=2, console=QUIET)
    assert results(folder, made) == expected(names, tmp_path)
    assert {len(pids) for pids in processes(folder).values()} == {1}
    workers = {pid for pids in processes(folder).values() for pid in pids}
    assert len(workers) == 2 and os.getpid() not in workers
    assert pool.run(work, names, folder, actors=2, console=QUIET) == made  # nothing is left to do, nobody is started
    assert {len(pids) for pids in processes(folder).values()} == {1}


@pytest.mark.faults
def test_a_killed_actor_costs_its_part_alone_a_row_that_kills_itself(
    cluster: str, names: Manifest, folder: str, tmp_path: Path
) -> None:
    work = Backwards(kill=("u100",), trace=f"{folder}.trace", slow=0.01)
    made = pool.run(work, names, folder, actors=1, console=QUIET)
    rows = expected(names, tmp_path)
    rows[100] = {"backwards": None, "problem": FATAL}
    assert results(folder, made) == rows
    assert len(processes(folder)["u100"]) == 4


def test_a_mistake_of_an_actor_is_told(cluster: str, names: Manifest, folder: str) -> None:
    with pytest.raises(ExtractionError, match=r"^u200: a mistake; what is done is kept"):
        pool.run(Backwards(mistake="u200"), names, folder, actors=1, console=QUIET)
    assert not [name for name in os.listdir(folder) if name.startswith("part") and name.endswith(".begun")]


def test_an_actor_is_not_started_for_ever(tmp_path: Path) -> None:
    place = str(tmp_path / "actor-1.begun")
    for _ in range(actor.RESTARTS + 1):
        actor._refuse_restarts(place)
    with pytest.raises(ExtractionError, match=f"died {actor.RESTARTS} times"):
        actor._refuse_restarts(place)


@pytest.mark.faults
def test_a_killed_driver_goes_on(cluster: str, names: Manifest, folder: str, tmp_path: Path) -> None:
    command = [sys.executable, backwards.__file__, names.place, folder, "1", "0.02"]
    driver = subprocess.Popen(command, env={**os.environ, "RAY_ADDRESS": cluster}, stdout=subprocess.DEVNULL)
    made = parts.cut(Backwards.key, Backwards().rows(names))
    wait_for("two parts", lambda: driver.poll() is not None or len(parts.missing(folder, made)) <= 3)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    workers = {pid for pids in processes(folder).values() for pid in pids}
    wait_for("its actors' end", lambda: not any(map(lives, workers)))
    left = parts.missing(folder, made)
    assert left
    before = {part.file: (Path(folder) / part.file).read_bytes() for part in made if part not in left}
    assert pool.run(Backwards(), names, folder, console=QUIET) == made
    assert results(folder, made) == expected(names, tmp_path)
    assert all((Path(folder) / name).read_bytes() == content for name, content in before.items())


@pytest.mark.faults
def test_an_interrupt_leaves_no_ray_behind(names: Manifest, folder: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("RAY")}
    command = [sys.executable, backwards.__file__, names.place, folder, "1", "0.5"]
    driver = subprocess.Popen(command, env=kept | OWN, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    wait_for("the first name", lambda: driver.poll() is not None or processes(folder))
    started = family(driver.pid)
    assert any("raylet" in command for command in started.values())
    driver.send_signal(signal.SIGINT)
    said = driver.communicate(timeout=400)[1]
    assert "KeyboardInterrupt" in said.decode()
    wait_for("the end of Ray", lambda: not any(map(lives, started)))
