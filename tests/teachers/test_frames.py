"""Frames of videos: the picture of the right moment, and a reason for every video that has none."""

from concurrent.futures import ThreadPoolExecutor

import av
import cv2
import numpy as np
import pytest

from vgsr.teachers import extract, frames
from vgsr.teachers.bank import BankError


def grey(number, size=(64, 96)):
    return np.full((*size, 3), 20 + 28 * (number % 8), np.uint8)


def shown(picture):
    """The number, modulo 8, of the grey picture that a decoded one is of; coding costs a level or two of 28."""
    return (picture.mean() - 20) / 28


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "libx264"), ("a.flv", "flv"), ("a.flv", "libx264")])
def test_the_frame_is_the_one_that_is_seen(film, tmp_path, name, codec):
    """100 frames at 25 a second: number n is seen from n/25 s on."""
    film(tmp_path / name, [grey(number) for number in range(100)], rate=25, codec=codec)
    assert frames.length(tmp_path / name) == pytest.approx(4, abs=0.1)
    for seconds, number in ((0, 0), (0.01, 0), (0.041, 1), (1.0, 25), (1.039, 25), (2.5, 62), (3.97, 99), (60, 99)):
        picture = frames.frame(tmp_path / name, seconds)
        assert picture.shape == (64, 96, 3) and picture.dtype == np.uint8
        assert shown(picture) == pytest.approx(number % 8, abs=0.2), seconds


def test_colours_are_rgb_and_sound_does_not_matter(film, tmp_path):
    red = np.zeros((64, 96, 3), np.uint8)
    red[..., 0] = 200
    film(tmp_path / "red.mp4", [red] * 30, sound=True)
    assert frames.length(tmp_path / "red.mp4") == pytest.approx(1, abs=0.05)
    np.testing.assert_allclose(frames.frame(tmp_path / "red.mp4", 0.5).mean(axis=(0, 1)), [200, 0, 0], atol=6)
    np.testing.assert_array_equal(
        extract.read_image(f"{tmp_path / 'red.mp4'}#t=0.5"), frames.frame(tmp_path / "red.mp4", 0.5)
    )


@pytest.mark.parametrize(
    ("uri", "video", "seconds"),
    [
        ("a/b.mp4#t=1.5", "a/b.mp4", 1.5),
        ("a#t=1/b.mp4#t=0", "a#t=1/b.mp4", 0),
        ("a/b.jpg", "a/b.jpg", None),
        ("a#t=1/b.jpg", "a#t=1/b.jpg", None),
        ("a.mp4#t=x", "a.mp4#t=x", None),
        ("s3://bucket/a.mp4#t=12", "s3://bucket/a.mp4", 12),
    ],
)
def test_uris(uri, video, seconds):
    assert frames.parted(uri) == (video, seconds)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 1.5, 1.2345, 100.0, 1e-9])
def test_a_uri_says_the_time_to_a_millisecond(seconds):
    uri, time = frames.parted(frames.at("a.mp4", seconds))
    assert uri == "a.mp4" and time == pytest.approx(seconds, abs=0.0005)


def test_what_is_no_video_has_a_reason(film, tmp_path):
    good = tmp_path / "good.mp4"
    film(good, [grey(number) for number in range(60)])
    content = good.read_bytes()
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_text("this is no video")
    (tmp_path / "short.mp4").write_bytes(content[: len(content) // 2])
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(5000))
    (tmp_path / "picture.mp4").write_bytes(cv2.imencode(".png", grey(0))[1].tobytes())
    reasons = {
        "none.mp4": "No such file",
        "empty.mp4": "empty",
        "text.mp4": "damaged",
        "short.mp4": "damaged",
        "noise.mp4": "damaged",
    }
    for name, reason in reasons.items():
        for read in (frames.length, lambda path: frames.frame(path, 0.5)):
            with pytest.raises(BankError, match=reason):
                read(tmp_path / name)


def test_a_video_that_is_damaged_behind_the_frame_still_gives_it(film, tmp_path):
    """FLV has its frames one behind the other; a second half of noise takes only what lies in it."""
    rng = np.random.default_rng(0)
    moving = [rng.integers(0, 256, (64, 96, 3), np.uint8) for _ in range(60)]
    film(tmp_path / "a.flv", moving, codec="flv")
    content = bytearray((tmp_path / "a.flv").read_bytes())
    want = frames.frame(tmp_path / "a.flv", 0.2)
    content[len(content) // 2 :] = rng.bytes(len(content) - len(content) // 2)
    (tmp_path / "b.flv").write_bytes(content)
    np.testing.assert_array_equal(frames.frame(tmp_path / "b.flv", 0.2), want)


def test_sound_alone_is_no_video(tmp_path):
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        voice = container.add_stream("aac", rate=48000, layout="mono")
        for _ in range(50):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.rate = 48000
            container.mux(voice.encode(frame))
        container.mux(voice.encode())
    with pytest.raises(BankError, match="no video in it"):
        frames.frame(tmp_path / "a.mp4", 0)


def test_a_frame_of_a_video_on_s3(film, s3, tmp_path):
    film(tmp_path / "a.mp4", [grey(number) for number in range(30)])
    s3.client.upload_file(str(tmp_path / "a.mp4"), s3.name, "videos/a.mp4")
    found = extract.read_image(f"{s3.place}/videos/a.mp4#t=0.5")
    np.testing.assert_array_equal(found, frames.frame(tmp_path / "a.mp4", 0.5))
    with pytest.raises(BankError, match="no such object"):
        extract.read_image(f"{s3.place}/videos/b.mp4#t=0.5")


def test_the_teacher_sees_in_a_video_who_is_on_the_picture(film, shared_data, sface, yunet, tmp_path):
    """Two real faces, each filmed with a moving background and noise: the embedding is that of the still."""
    loaded = extract.teacher_files(weights_folder=sface.parent).load()
    rng = np.random.default_rng(0)
    places, stills = [], []
    for actor in (1, 2):
        picture = extract.read_image(shared_data / "ravdess" / f"Actor_{actor:02d}" / "face.png")
        picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
        path = tmp_path / f"{actor}.mp4"
        cv2.imwrite(str(tmp_path / f"{actor}.png"), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
        stills.append(str(tmp_path / f"{actor}.png"))
        moving = []
        for number in range(45):
            moved = np.roll(picture, number // 8, axis=1).astype(np.int16) + rng.integers(-6, 7, picture.shape)
            moving.append(moved.clip(0, 255).astype(np.uint8))
        film(path, moving)
        places.append(frames.at(str(path), frames.length(path) / 2))
    with ThreadPoolExecutor(1) as pool:
        seen = extract.see(loaded, [*places, *stills], pool)
    assert seen.problems == [None] * 4
    units = seen.embeddings / np.linalg.norm(seen.embeddings, axis=1, keepdims=True)
    cosines = units[:2] @ units[2:].T
    assert (np.diag(cosines) > 0.95).all() and cosines[0, 1] < 0.4 and cosines[1, 0] < 0.4
