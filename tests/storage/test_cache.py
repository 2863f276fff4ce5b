"""The node's cache: one download for all processes, whole copies only, and no more of them than fit."""

import subprocess
import sys
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr import storage
from vgsr.storage import Entry, StorageError, cache
from vgsr.storage.cache import Copy, superfluous

CONTENT = bytes(range(256)) * 1200
READER = "import sys; from vgsr import storage; sys.stdin.readline(); print(storage.local(sys.argv[1]))"


@pytest.fixture
def place(s3):
    s3.client.put_object(Bucket=s3.name, Key="a.bin", Body=CONTENT)
    return f"{s3.place}/a.bin"


@pytest.fixture
def reader():
    """Starts a process that will ask for a local copy as soon as it is told to: `go(process)`."""
    started = []

    def start(place):
        pipe = subprocess.PIPE
        started.append(subprocess.Popen([sys.executable, "-c", READER, place], stdin=pipe, stdout=pipe, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def go():
    def tell(process):
        process.stdin.write("\n")
        process.stdin.flush()

    return tell


def test_many_ask_and_one_downloads(faulty, place, cached, reader, go):
    processes = [reader(place) for _ in range(3)]
    for process in processes:
        go(process)
    found = []
    threads = [threading.Thread(target=lambda: found.append(str(storage.local(place)))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found += [process.communicate()[0].strip() for process in processes]
    assert len(found) == 6 and len(set(found)) == 1
    assert faulty.count("GET") == 1 and faulty.count("HEAD") == 6
    assert list(cached().values()) == [CONTENT]


def test_a_killed_download_is_not_taken_for_a_whole_one(faulty, place, monkeypatch, cached, reader, go):
    """Who waits for it begins anew, at once."""
    monkeypatch.setenv("VGSR_S3_TIMEOUT", "9")
    faulty.plan(["stall"], method="GET")
    killed = reader(place)
    go(killed)
    while not faulty.count("GET"):
        time.sleep(0.02)
    found = []
    waiting = threading.Thread(target=lambda: found.append(storage.local(place).read_bytes()))
    waiting.start()
    while faulty.count("HEAD") < 2:
        time.sleep(0.02)
    time.sleep(0.1)
    assert [name for name in cached() if not name.endswith(".part")] == [] != list(cached())
    killed.kill()
    waiting.join()
    assert found == [CONTENT] == list(cached().values())


def test_what_has_changed_is_downloaded_anew(faulty, s3, place):
    first = storage.local(place)
    assert storage.local(place) == first and faulty.count("GET") == 1
    s3.client.put_object(Bucket=s3.name, Key="a.bin", Body=CONTENT[::-1])
    assert storage.local(place).read_bytes() == CONTENT[::-1] and storage.local(place) != first


def test_what_changes_between_the_question_and_the_download(faulty, s3, place, monkeypatch):
    """The two halves of a download are never of two objects."""
    from vgsr.storage import s3 as module

    whole = module.download

    def meddle(place, entry, target):
        if faulty.count("GET") == 0:
            faulty.plan(["cut"], method="GET")
            monkeypatch.setattr(module, "patiently", once_then_overwrite)
        whole(place, entry, target)

    def once_then_overwrite(place, verb, operation, real=module.patiently):
        try:
            return operation()
        except Exception:
            s3.client.put_object(Bucket=s3.name, Key="a.bin", Body=CONTENT[::-1])
            monkeypatch.setattr(module, "patiently", real)
            return real(place, verb, operation)

    monkeypatch.setattr(module, "download", meddle)
    assert storage.local(place).read_bytes() == CONTENT[::-1]
    assert [request.range for request in faulty.requests if request.method == "GET"] == [
        "",
        f"bytes={len(CONTENT) // 2}-",
        "",
    ]


def test_a_copy_that_goes_while_it_is_open_stays_readable(s3, place, monkeypatch, cached):
    monkeypatch.setenv("VGSR_CACHE_SIZE", f"{len(CONTENT)}B")
    s3.client.put_object(Bucket=s3.name, Key="b.bin", Body=b"b" * len(CONTENT))
    with storage.local(place).open("rb") as file:
        storage.local(f"{s3.place}/b.bin")
        assert list(cached().values()) == [b"b" * len(CONTENT)]
        assert file.read() == CONTENT


@given(st.lists(st.integers(0, 100), max_size=30), st.integers(0, 500), st.randoms())
def test_the_longest_unused_go_and_no_more_than_must(sizes, bound, random):
    copies = [Copy(number, size, number) for number, size in enumerate(sizes)]
    shuffled = copies.copy()
    random.shuffle(shuffled)
    gone = superfluous(shuffled, bound)
    assert gone == copies[: len(gone)]
    assert sum(sizes[len(gone) :]) <= bound
    assert not gone or sum(sizes[len(gone) - 1 :]) > bound


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 120)), max_size=40), st.integers(0, 300))
def test_the_bound_holds(tmp_path_factory, asked, bound):
    """Whatever is asked for: it is there, whole, and the folder is within its bound but for one that is larger."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("VGSR_CACHE", str(folder))
        patch.setenv("VGSR_CACHE_SIZE", str(bound))
        for name, size in asked:
            content, seen = bytes([name]) * size, []

            def download(target, content=content, seen=seen):
                seen.append(sum(file.stat().st_size for file in folder.iterdir() if file.name != ".used"))
                target.write(content)

            had = {file.name for file in folder.iterdir()}
            found = cache.copy(f"s3://b/{name}", Entry(size, "x"), download)
            assert found.read_bytes() == content and (found.name in had) == (seen == [])
            assert all(total <= max(bound, size) for total in seen)  # counting the room of what is being written
            assert sum(file.stat().st_size for file in folder.iterdir() if file.name != ".used") <= max(bound, size)


def test_what_was_used_last_stays(tmp_path, monkeypatch, cached):
    monkeypatch.setenv("VGSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VGSR_CACHE_SIZE", "30")
    for name in "abac":
        cache.copy(name, Entry(12, name), lambda target, name=name: target.write(name.encode() * 12))
    assert sorted(cached().values()) == [b"a" * 12, b"c" * 12]


def test_what_killed_writers_have_left_goes(tmp_path, monkeypatch, cached):
    monkeypatch.setenv("VGSR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("VGSR_CACHE_SIZE", "100")
    with cache.outgoing(".bin") as alive:
        alive.write_bytes(b"of a living one" * 100)
        (cache.folder() / "0.bin.part").write_bytes(b"x" * 90)
        (cache.folder() / ".outgoing-0").mkdir()
        (cache.folder() / ".outgoing-0" / "content").write_bytes(b"x" * 90)
        (cache.folder() / ".used").write_text("nonsense")
        cache.copy("s3://b/a", Entry(60, "x"), lambda target: target.write(b"y" * 60))
        assert alive.read_bytes() == b"of a living one" * 100
        assert len(list(cache.folder().iterdir())) == 3  # the copy, the account, and what is alive
    assert list(cached().values()) == [b"y" * 60]


def test_a_download_that_fails_leaves_nothing(tmp_path, monkeypatch, cached):
    monkeypatch.setenv("VGSR_CACHE", str(tmp_path / "cache"))

    def fail(target):
        target.write(b"half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cache.copy("s3://b/a", Entry(60, "x"), fail)
    assert cached() == {}


def test_the_folder_and_the_bound(tmp_path, monkeypatch):
    monkeypatch.setenv("VGSR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("VGSR_CACHE", raising=False)
    monkeypatch.delenv("VGSR_CACHE_SIZE", raising=False)
    assert cache.folder() == tmp_path / "home" / "cache"
    free = type("Usage", (), {"free": 600})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda path: free)
    assert cache.bound(400) == 500  # half of what were free without what is in the cache
    assert storage.room() == 270
    monkeypatch.setenv("VGSR_CACHE_SIZE", "2kB")
    assert cache.bound(400) == 2000 and storage.room() == 1800


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("50GB", 50 * 10**9),
        ("1.5 GiB", 3 * 2**29),
        ("512MiB", 2**29),
        ("0", 0),
        ("12 b", 12),
        ("2k", 2000),
        ("1T", 10**12),
    ],
)
def test_sizes(text, wanted):
    assert storage.size(text) == wanted


@pytest.mark.parametrize("text", ["", "much", "-1GB", "GB", "1 PB", "1,5GB", "nan"])
def test_what_is_no_size_is_told(text, monkeypatch):
    with pytest.raises(StorageError, match="is no size; write a number and its unit, such as 50GB"):
        storage.size(text)
