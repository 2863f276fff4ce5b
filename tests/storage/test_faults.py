"""S3 that fails in each way it can: what passes is got over, what does not is reported, and nothing half is left."""

import multiprocessing
import pickle

import pytest
from boto3.s3.transfer import TransferConfig

from vgsr import storage
from vgsr.storage import StorageError, retry
from vgsr.storage import s3 as module

CONTENT = bytes(range(256)) * 1200
READING = ("500", "503", "reset", "lost", "cut", "stall")


@pytest.fixture
def place(s3):
    s3.client.put_object(Bucket=s3.name, Key="a.bin", Body=CONTENT)
    return f"{s3.place}/a.bin"


SAID = {
    "500": "InternalError",
    "503": "SlowDown",
    "reset": "Connection was closed",
    "lost": "Connection was closed",
    "cut": ".*(more|bytes) expected",
    "stall": "no answer for 0.3 s",
}
READS = {
    "read_bytes": lambda place, tmp_path: storage.read_bytes(place) == CONTENT,
    "range": lambda place, tmp_path: storage.read_bytes(place, 1000, 5000) == CONTENT[1000:6000],
    "local": lambda place, tmp_path: storage.local(place).read_bytes() == CONTENT,
    "get": lambda place, tmp_path: storage.get(place, tmp_path / "c") or (tmp_path / "c").read_bytes() == CONTENT,
    "stat": lambda place, tmp_path: storage.stat(place).size == len(CONTENT),
    "listing": lambda place, tmp_path: list(storage.listing(place.rpartition("/")[0])) == ["a.bin"],
}


@pytest.mark.parametrize("fault", READING)
def test_a_fault_that_passes_is_got_over(faulty, place, tmp_path, monkeypatch, fault):
    monkeypatch.setenv("VGSR_S3_TIMEOUT", "0.3")
    for name, call in READS.items():
        faulty.requests.clear()
        faulty.plan([fault])
        assert call(place, tmp_path), name
        assert faulty.requests[0].fault == fault and len(faulty.requests) > 1, name


def test_one_fault_after_another(faulty, place, tmp_path):
    for call in READS.values():
        faulty.plan(["503", "cut", "reset", "500", "lost"])
        assert call(place, tmp_path)


@pytest.mark.parametrize("fault", READING)
def test_a_fault_that_stays_is_reported(faulty, place, tmp_path, monkeypatch, cached, fault):
    monkeypatch.setenv("VGSR_S3_TRIES", "2")
    monkeypatch.setenv("VGSR_S3_TIMEOUT", "0.3")
    for name, call in READS.items():
        faulty.requests.clear()
        faulty.always(fault, method="" if name in ("stat", "listing") else "GET")
        what = SAID[fault] if name not in ("stat", "listing") else ""  # a HEAD has no body
        said = rf"{place.rpartition('/')[0]}.*: not (read|listed) after 2 tries in \d s: {what}"
        with pytest.raises(StorageError, match=said) as caught:
            call(place, tmp_path)
        assert "neverprintthis" not in str(caught.value)
        assert sum(request.fault is not None for request in faulty.requests) == 2
    assert cached() == {} and list(tmp_path.iterdir()) == [tmp_path / "cache"]


@pytest.mark.parametrize("fault", ["500", "503", "reset", "lost", "cut", "corrupt"])
def test_an_upload_is_whole_or_tried_again(faulty, s3, tmp_path, fault):
    (tmp_path / "up").write_bytes(CONTENT)
    for write in (storage.put_bytes, lambda content, place: storage.put(tmp_path / "up", place)):
        faulty.plan([fault], method="PUT")
        write(CONTENT, f"{s3.place}/up.bin")
        assert s3.client.get_object(Bucket=s3.name, Key="up.bin")["Body"].read() == CONTENT
        storage.delete(f"{s3.place}/up.bin")
    assert sum(request.fault == fault for request in faulty.requests) == 2


@pytest.mark.parametrize("fault", ["500", "503", "reset", "cut", "corrupt", "403"])
def test_an_upload_that_fails_leaves_nothing(faulty, s3, tmp_path, monkeypatch, cached, fault):
    monkeypatch.setenv("VGSR_S3_TRIES", "2")
    faulty.always(fault, method="PUT")
    tried = "" if fault == "403" else " after 2 tries"
    with pytest.raises(StorageError, match=f"{s3.place}/up: not written{tried}"):
        storage.put_bytes(CONTENT, f"{s3.place}/up")
    with (
        pytest.raises(StorageError, match=f"{s3.place}/up: not written{tried}"),
        storage.written(f"{s3.place}/up") as up,
    ):
        up.write_bytes(CONTENT)
    faulty.well()
    assert storage.stat(f"{s3.place}/up") is None and cached() == {}


def test_large_uploads_get_over_faults_in_their_parts(faulty, s3, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PARTS", TransferConfig(multipart_threshold=6 << 20, multipart_chunksize=5 << 20))
    content = CONTENT * 40  # 12 MB
    (tmp_path / "large").write_bytes(content)
    faulty.plan([None, "500", "cut", "corrupt"])
    storage.put(tmp_path / "large", f"{s3.place}/large")
    assert s3.client.get_object(Bucket=s3.name, Key="large")["Body"].read() == content
    faulty.always("cut", method="PUT")
    with pytest.raises(StorageError, match="not written after 6 tries"):
        storage.put(tmp_path / "large", f"{s3.place}/other")
    assert storage.stat(f"{s3.place}/other") is None
    assert not s3.client.list_multipart_uploads(Bucket=s3.name).get("Uploads")


def test_a_broken_download_goes_on_where_it_broke_off(faulty, place):
    faulty.plan(["cut", "cut"], method="GET")
    assert storage.local(place).read_bytes() == CONTENT
    half = len(CONTENT) // 2
    ranges = [request.range for request in faulty.requests if request.method == "GET"]
    assert ranges == ["", f"bytes={half}-", f"bytes={half + half // 2}-"]


def test_a_spoilt_download_begins_anew(faulty, place):
    faulty.plan(["corrupt"], method="GET")
    assert storage.local(place).read_bytes() == CONTENT
    assert [request.range for request in faulty.requests if request.method == "GET"] == ["", ""]


def test_what_is_refused_is_asked_once(faulty, place, tmp_path):
    faulty.always("403")
    for call in READS.values():
        faulty.requests.clear()
        said = "access denied; credentials are read from AWS_ACCESS_KEY_ID.*the server from AWS_ENDPOINT_URL"
        with pytest.raises(StorageError, match=rf": not (read|listed): {said}"):
            call(place, tmp_path)
        assert len(faulty.requests) == 1


def test_what_is_missing_is_asked_once(faulty, s3):
    assert storage.stat(f"{s3.place}/none") is None
    with pytest.raises(StorageError, match=f"{s3.place}/none: not read: there is no such object"):
        storage.read_bytes(f"{s3.place}/none")
    assert len(faulty.requests) == 2
    for call in (storage.listing, storage.read_bytes, lambda place: storage.put_bytes(b"", place)):
        with pytest.raises(StorageError, match=r"s3://no-such-bucket/x: .*the bucket does not exist; credentials"):
            call("s3://no-such-bucket/x")
    assert len(faulty.requests) == 5


def test_a_server_that_is_not_there_is_named(s3, monkeypatch, free_port):
    url = f"http://127.0.0.1:{free_port()}"
    monkeypatch.setenv("AWS_ENDPOINT_URL", url)
    with pytest.raises(
        StorageError, match=rf'x: not read after 6 tries .*connect to the endpoint URL: "{url}.*AWS_ENDPOINT'
    ):
        storage.read_bytes(f"{s3.place}/x")


def test_credentials_that_are_not_there_are_asked_for(s3, monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    with pytest.raises(StorageError, match="x: not read: Unable to locate credentials; credentials are read from AWS_"):
        storage.read_bytes(f"{s3.place}/x")


def test_a_bucket_is_no_object(s3):
    for call in (storage.stat, storage.local, storage.read_bytes, lambda place: storage.put_bytes(b"", place)):
        for place in (s3.place, f"{s3.place}/"):
            with pytest.raises(StorageError, match=f"{place}: a bucket, not an object in it"):
                call(place)


def test_a_forked_process_reads_over_connections_of_its_own(faulty, place):
    assert storage.read_bytes(place) == CONTENT
    with multiprocessing.get_context("fork").Pool(3) as pool:
        ranges = [(place, start, 1000) for start in range(0, 60000, 1000)]
        read = pool.starmap_async(storage.read_bytes, ranges)
        mine = [storage.read_bytes(*one) for one in ranges]
        assert read.get() == mine == [CONTENT[start : start + 1000] for start in range(0, 60000, 1000)]


def test_pyarrow_gets_over_faults_too(faulty, place):
    system, path = storage.filesystem(place)
    for fault in ("503", "reset", "lost", "cut"):
        faulty.plan([fault], method="GET")
        with system.open_input_file(path) as file:
            assert file.read() == CONTENT, fault
        for method in ("PUT", "POST"):
            faulty.plan([fault], method=method)
            with system.open_output_stream(f"{path}-{fault}") as file:
                file.write(CONTENT)
            assert storage.read_bytes(f"{place}-{fault}") == CONTENT
    assert sum(request.fault is not None for request in faulty.requests) == 12


@pytest.mark.parametrize("fault", ["500", "stall"])
def test_pyarrow_tries_some_times_more_than_is_said_and_still_after_a_pickle(faulty, place, monkeypatch, fault):
    monkeypatch.setenv("VGSR_S3_TRIES", "2")
    system, path = storage.filesystem(place)
    monkeypatch.delenv("VGSR_S3_TRIES")
    for one in (system, pickle.loads(pickle.dumps(system))):
        faulty.requests.clear()
        faulty.always(fault, method="HEAD")
        with pytest.raises(OSError, match="HeadObject"):
            one.get_file_info(path)
        assert faulty.count("HEAD") == 2 + 4


def test_random_faults(faulty, s3):
    faulty.randomly(0.2, seed=5, faults=("500", "503", "reset", "lost", "cut"))
    for number in range(20):
        storage.put_bytes(CONTENT[number:], f"{s3.place}/{number}")
    for number in range(20):
        assert storage.read_bytes(f"{s3.place}/{number}", 3, 100) == CONTENT[number + 3 : number + 103]
        assert storage.local(f"{s3.place}/{number}").read_bytes() == CONTENT[number:]
    assert len(storage.listing(s3.place)) == 20
    assert sum(request.fault is not None for request in faulty.requests) > 10


def test_the_settings_are_checked(s3, monkeypatch):
    for name in ("VGSR_S3_TRIES", "VGSR_S3_TIMEOUT"):
        for text in ("many", "-1", "0"):
            monkeypatch.setenv(name, text)
            with pytest.raises(StorageError, match=f"{name}={text}: a number above 0 is needed"):
                storage.stat(f"{s3.place}/x")
        monkeypatch.delenv(name)
    assert (retry.tries(), retry.timeout()) == (6, 30)
