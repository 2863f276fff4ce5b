"""Checkpoints in a storage, against what was put there, whenever the one who writes is killed."""

import pytest

from vgsr import storage
from vgsr.training import stored
from vgsr.training.session import checkpoint_name


@pytest.fixture(params=["local", "s3"])
def place(request, tmp_path):
    """Where a run keeps its checkpoints: on this machine, and on S3."""
    return str(tmp_path / "run") if request.param == "local" else request.getfixturevalue("s3").place + "/run"


def save(place, epoch, best, batch=0):
    """A checkpoint whose two files say which it is."""

    def write(folder):
        (folder / "weights").write_text(f"{epoch}.{batch}")
        (folder / stored.MARK).write_text(f"{epoch}.{batch}")

    stored.save(place, checkpoint_name(epoch, batch), checkpoint_name(best, 0) if best else "", write)


def content(place, name):
    with stored.opened(place, name) as folder:
        return {file.name: file.read_text() for file in folder.iterdir()}


def kept(place):
    return {file.partition("/")[0] for file in storage.listing(place)}


def test_the_best_and_the_latest_are_kept(place):
    assert stored.latest(place) is None
    for epoch, best in ((1, 1), (2, 2), (3, 2), (4, 2), (5, 5)):
        save(place, epoch, best)
        assert kept(place) == {checkpoint_name(best, 0), checkpoint_name(epoch, 0)}
        assert stored.latest(place) == checkpoint_name(epoch, 0)
    save(place, 5, 5, batch=7)
    assert stored.latest(place) == "00005-000007"
    assert content(place, "00005-000007") == {"weights": "5.7", stored.MARK: "5.7"}
    assert content(place, "00005-000000") == {"weights": "5.0", stored.MARK: "5.0"}


class Killed(BaseException):
    pass


@pytest.mark.parametrize("calls", range(12))
def test_one_who_is_killed_at_any_moment_leaves_a_whole_latest_and_the_best(place, calls, monkeypatch):
    save(place, 1, 1)
    save(place, 2, 1)
    left = [calls]

    def counted(function):
        def call(*arguments):
            if not left[0]:
                raise Killed
            left[0] -= 1
            return function(*arguments)

        return call

    with monkeypatch.context() as patch:
        for name in ("put", "delete"):
            patch.setattr(storage, name, counted(getattr(storage, name)))
        killed = False
        try:
            save(place, 3, 1)
        except Killed:
            killed = True
    latest = stored.latest(place)
    assert latest == checkpoint_name(3, 0) or (killed and latest == checkpoint_name(2, 0))
    for name in (latest, checkpoint_name(1, 0)):
        said = f"{int(name[:5])}.0"
        assert content(place, name) == {"weights": said, stored.MARK: said}
    save(place, 3, 1)
    save(place, 4, 1)
    assert kept(place) == {checkpoint_name(1, 0), checkpoint_name(4, 0)}
    assert calls < 6 or not killed


def test_a_worker_that_was_cut_off_takes_nothing_from_the_run_that_went_on(place):
    for epoch in range(1, 6):
        save(place, epoch, best=4 if epoch > 3 else 1)
    save(place, 3, best=1)
    assert stored.latest(place) == checkpoint_name(5, 0)
    assert content(place, checkpoint_name(4, 0)) == {"weights": "4.0", stored.MARK: "4.0"}


def test_what_is_no_checkpoint_is_left_alone(place):
    for name in ("notes.txt", "figures/00001.png", "00001-000000/deeper/checkpoint.json"):
        storage.put_bytes(b"mine", storage.join(place, name))
    assert stored.latest(place) is None
    save(place, 2, 2)
    assert {"notes.txt", "figures/00001.png"} <= set(storage.listing(place))
    assert stored.latest(place) == checkpoint_name(2, 0)
