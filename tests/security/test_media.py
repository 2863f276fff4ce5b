"""Sound, films, pictures and networks that somebody else has made."""

import struct
import zlib

import cv2
import numpy as np
import pytest
import soundfile
from onnx import TensorProto, helper

from vgsr.data import audio
from vgsr.data.audio import AudioError
from vgsr.teachers import embed, frames
from vgsr.teachers.bank import BankError
from vgsr.teachers.extract import read_image


@pytest.fixture
def flac(tmp_path):
    """Writes a FLAC file of 0.1 s whose header claims so many frames, at such a rate."""

    def write(frames=1600, rate=16000):
        soundfile.write(tmp_path / "a.flac", np.zeros(1600, np.int16), 16000)
        content = bytearray((tmp_path / "a.flac").read_bytes())
        facts = int.from_bytes(content[18:26], "big")  # of STREAMINFO: 20 bits rate, 3 channels, 5 width, 36 frames
        facts = facts & ~((0xFFFFF << 44) | ((1 << 36) - 1)) | rate << 44 | frames
        content[18:26] = facts.to_bytes(8, "big")
        (tmp_path / "claims.flac").write_bytes(content)
        return tmp_path / "claims.flac"

    return write


def test_sound_that_claims_what_is_not_there(flac, bounded):
    file = flac(frames=(1 << 36) - 1)
    assert soundfile.info(str(file)).frames == (1 << 36) - 1  # libsndfile believes it
    ways = (audio.probe, audio.read, lambda name: audio.decode(name.read_bytes(), str(name)))
    for way in ways:
        with bounded(), pytest.raises(AudioError, match=r"claims\.flac: .*hours of sound in"):
            way(file)


def test_a_wav_that_claims_what_is_not_there(tmp_path, bounded):
    file = tmp_path / "claims.wav"
    soundfile.write(file, np.zeros(1600, np.int16), 16000)
    content = bytearray(file.read_bytes())
    place = content.find(b"data") + 4
    content[place : place + 4] = struct.pack("<I", 0xFFFFFFF0)
    file.write_bytes(content)
    with bounded():
        assert len(audio.read(file)) == 1600  # libsndfile takes what is there


@pytest.mark.parametrize("rate", [1, 999, 655_357, 15_991])
def test_rates_that_cannot_be_resampled(flac, bounded, rate):
    with bounded(), pytest.raises(AudioError, match=rf"claims\.flac: .*rate of {rate} Hz"):
        audio.read(flac(rate=rate))


def test_hours_are_not_decoded_in_one_piece(tmp_path, monkeypatch):
    soundfile.write(tmp_path / "long.flac", np.zeros(32000, np.int16), 16000)
    monkeypatch.setattr(audio, "LONGEST_DECODED", 20_000)
    with pytest.raises(AudioError, match="too long"):
        audio.read(tmp_path / "long.flac")
    assert len(audio.read(tmp_path / "long.flac", 0.5, 1.0)) == 16000


@pytest.fixture
def canary(film, tmp_path):
    """A film with sound beside the hostile files."""
    film(tmp_path / "canary.mp4", [np.full((32, 32, 3), 200, np.uint8)] * 15, sound=True)
    assert len(audio.read(tmp_path / "canary.mp4"))
    return tmp_path / "canary.mp4"


@pytest.mark.parametrize(
    "content",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{canary}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\nhttp://127.0.0.1:9/x.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile canary.mp4\n",
    ],
)
def test_playlists_are_not_followed(canary, tmp_path, content):
    for suffix in (".m4a", ".mp4", ".aac"):
        file = tmp_path / f"list{suffix}"
        file.write_text(content.format(canary=canary))
        for way in (audio.probe, audio.read):
            with pytest.raises(AudioError, match=rf"list\{suffix}: unreadable"):
                way(file)
        for look in (frames.length, lambda place: frames.frame(place, 0.0)):
            with pytest.raises(BankError, match="not a video"):
                look(file)


def test_a_name_is_no_protocol(canary, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("concat:canary.mp4", "http:x.mp4", "data:x.mp4"):
        with pytest.raises(AudioError, match="no such file"):
            audio.read(name)


def png(width, height):
    """A PNG whose header claims such a size; its pixels are a few bytes."""

    def chunk(kind, content):
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + chunk(b"IDAT", zlib.compress(bytes(100_000))) + chunk(b"IEND", b"")


def jpeg(width, height):
    """A JPEG whose header claims such a size."""
    content = bytearray(cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1].tobytes())
    place = content.find(b"\xff\xc0") + 5
    content[place : place + 4] = struct.pack(">HH", height, width)
    return bytes(content)


@pytest.mark.parametrize("made", [png, jpeg])
@pytest.mark.parametrize(("width", "height"), [(60_000, 60_000), (9000, 9000), (65_500, 2000)])
def test_pictures_that_claim_to_be_huge(tmp_path, bounded, made, width, height):
    (tmp_path / "bomb.png").write_bytes(made(width, height))
    with bounded(), pytest.raises(BankError, match="pixels"):
        read_image(tmp_path / "bomb.png")


def test_a_picture_that_is_none(tmp_path, bomb):
    import pickle

    (tmp_path / "a.png").write_bytes(pickle.dumps(bomb))
    with pytest.raises(BankError, match="not an image"):
        read_image(tmp_path / "a.png")
    (tmp_path / "b.png").symlink_to("/dev/zero")
    with pytest.raises(BankError, match="a pipe or a device"):
        read_image(tmp_path / "b.png")


def test_films_of_huge_frames(canary, monkeypatch):
    monkeypatch.setattr(frames, "MOST_PIXELS", 1000)
    for look in (frames.length, lambda place: frames.frame(place, 0.0)):
        with pytest.raises(BankError, match="32 × 32 pixels"):
            look(canary)


def network(location, inner=False):
    """A network whose weights lie in another file."""
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=location)
    x, y = (helper.make_tensor_value_info(name, TensorProto.FLOAT, [4]) for name in "xy")
    if inner:
        node = helper.make_node("Constant", [], ["w"], value=weights)
        graph = helper.make_graph([node, helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y])
    else:
        graph = helper.make_graph([helper.make_node("Add", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@pytest.mark.parametrize("location", ["canary.bin", "/etc/hostname", "../../etc/hostname"])
@pytest.mark.parametrize("inner", [False, True])
def test_networks_that_read_other_files(tmp_path, monkeypatch, location, inner):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "canary.bin").write_bytes(np.ones(4, "<f4").tobytes())
    (tmp_path / "net.onnx").write_bytes(network(location, inner))
    with pytest.raises(embed.ModelError, match="refused: its weights are not all in it but in"):
        embed.load(tmp_path / "net.onnx", embed.ARCFACE_FEED)


def test_a_network_that_is_none(tmp_path, bomb):
    import pickle

    (tmp_path / "net.onnx").write_bytes(pickle.dumps(bomb))
    with pytest.raises(embed.ModelError, match="net: not a"):
        embed.load(tmp_path / "net.onnx", embed.ARCFACE_FEED)
