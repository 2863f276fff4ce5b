"""Every reader of files on damaged ones: what cannot be used is listed with the reason, all else is read right."""

import os
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
import soundfile
from scipy.signal import resample_poly

from vgsr.corpora import CORPORA, prepare
from vgsr.data import recordings

SPEAKERS, EACH = 14, 3  # recordings of a speaker


def of_folder(root):
    return [[root / f"s{n:02d}" / "a" / f"{k}.wav" for k in range(EACH)] for n in range(SPEAKERS)]


def of_ravdess(root):
    def name(n, k):
        return f"Actor_{n:02d}/03-01-{k:02d}-01-01-01-{n:02d}.wav"

    return [[root / name(n, k) for k in range(1, EACH + 1)] for n in range(1, SPEAKERS + 1)]


def of_cremad(root):
    sentences = ("DFA", "IEO", "IOM")
    return [[root / "AudioWAV" / f"{1001 + n}_{one}_ANG_XX.wav" for one in sentences] for n in range(SPEAKERS)]


def of_librispeech(root):
    return [[root / f"{n}" / "9" / f"{n}-9-{k:04d}.wav" for k in range(EACH)] for n in range(100, 100 + SPEAKERS)]


def of_cnceleb(root):
    data = root / "CN-Celeb2_wav" / "data"
    return [[data / f"id{10000 + n}" / f"singing-01-00{k}.wav" for k in range(EACH)] for n in range(SPEAKERS)]


def of_voxceleb1(root):
    folders = [root / "wav" / f"id{10001 + n}" for n in range(SPEAKERS)]
    sets = ["dev"] * (SPEAKERS - 2) + ["test"] * 2
    lines = [f"{folder.name}\tName_{folder.name}\tm\tUSA\t{of}" for folder, of in zip(folders, sets, strict=True)]
    root.mkdir()
    (root / "vox1_meta.csv").write_text(
        "\n".join(["VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet", *lines]) + "\n"
    )
    return [[folder / "1zcIwhmdeo4" / f"{k:05d}.wav" for k in range(EACH)] for folder in folders]


def of_voxceleb2(root):
    places = [("dev" if n < SPEAKERS - 2 else "test", f"id{n:05d}") for n in range(SPEAKERS)]
    return [[root / of / "aac" / name / "21Uxsk56VDQ" / f"{k:05d}.wav" for k in range(EACH)] for of, name in places]


def of_kaldi(root):
    files = [[root / "audio" / f"s{n:02d}-{k}.wav" for k in range(EACH)] for n in range(SPEAKERS)]
    root.mkdir()
    (root / "wav.scp").write_text("".join(f"{one.stem} audio/{one.name}\n" for own in files for one in own))
    (root / "utt2spk").write_text("".join(f"{one.stem} {one.stem[:3]}\n" for own in files for one in own))
    return files


def of_avspeech(root):
    files = [[root / "audio" / f"v{n:02d}_{k}.wav" for k in range(EACH)] for n in range(SPEAKERS)]
    root.mkdir()
    lines = [f"{one.stem[:3]},0,audio/{one.name},faces/me.jpg" for own in files for one in own]
    (root / "clips.csv").write_text("\n".join(["youtube_id,start,audio,face", *lines]) + "\n")
    (root / "faces").mkdir()
    (root / "faces" / "me.jpg").write_bytes(b"a picture")
    return files


LAYOUTS: dict[str, Callable] = {
    "avspeech": of_avspeech,
    "cnceleb": of_cnceleb,
    "cremad": of_cremad,
    "folder": of_folder,
    "kaldi": of_kaldi,
    "librispeech": of_librispeech,
    "ravdess": of_ravdess,
    "voxceleb1": of_voxceleb1,
    "voxceleb2": of_voxceleb2,
}
OPTIONS = {"cnceleb": {"join": 0}}  # joined ones are its own test's
TABLES = ("wav.scp", "clips.csv")  # that name files


def test_every_corpus_that_is_read_is_damaged_here():
    assert set(LAYOUTS) == {name for name, corpus in CORPORA.items() if corpus.needs_root}


def noise(path):
    path.write_bytes(np.random.default_rng(0).bytes(20_000))


def noisy_header(path):
    path.write_bytes(np.random.default_rng(0).bytes(30) + path.read_bytes()[30:])


def cut_in_the_header(path):
    path.write_bytes(path.read_bytes()[:30])


def text(path):
    path.write_text("this is no sound")


def empty(path):
    path.write_bytes(b"")


def no_samples(path):
    soundfile.write(path, np.zeros(0), 16000)


def not_numbers(path):
    wave, rate = soundfile.read(path)
    wave[1000] = np.nan
    soundfile.write(path, wave, rate, subtype="FLOAT")


def silence(path):
    soundfile.write(path, np.zeros(16000), 16000)


def too_short(path):
    soundfile.write(path, 0.1 * np.ones(800), 16000)


DAMAGES = {
    noise: "unreadable",
    noisy_header: "unreadable",
    cut_in_the_header: "",
    text: "unreadable",
    empty: "empty file",
    no_samples: "no samples",
    not_numbers: "not numbers",
    silence: "digital silence",
    too_short: "too short",
}


def renamed(root, path, name):
    """A file under another name, bytes, in the tables of its corpus too; its uri as a problem prints it."""
    target = os.path.join(os.fsencode(path.parent), name)
    os.rename(path, target)
    for table in TABLES:
        if (root / table).is_file():
            (root / table).write_bytes((root / table).read_bytes().replace(os.fsencode(path.name), name))
    return path.parent.relative_to(root).as_posix() + "/" + name.decode("utf-8", "backslashreplace")


@pytest.mark.parametrize("name", sorted(LAYOUTS))
def test_damaged_recordings_are_listed_and_all_others_kept(name, tmp_path, record):
    root = tmp_path / "corpus"
    files = LAYOUTS[name](root)
    for own in files:
        for path in own:
            record(path, seconds=1.2)
    bad, odd = {}, {}
    victims = [own[0] for own in files]
    for (damage, reason), path in zip(DAMAGES.items(), victims, strict=False):
        damage(path)
        bad[path.relative_to(root).as_posix()] = reason
    others = victims[len(DAMAGES) :]
    accented = renamed(root, others[0], others[0].stem.encode() + b"\xe9.wav")
    barred = renamed(root, others[1], others[1].stem.encode() + b"|.wav")
    gone = {path.relative_to(root).as_posix() for path in others[:2]}
    rng = np.random.default_rng(1)
    for path, rate, channels in zip(others[2:], (8000, 44100, 16000), (1, 1, 2), strict=True):
        odd[path.relative_to(root).as_posix()] = tones(rng, rate, channels), rate
        soundfile.write(path, *odd[path.relative_to(root).as_posix()], subtype="FLOAT")

    report = prepare(name, root, tmp_path / "out", **OPTIONS.get(name, {}))

    reasons = {problem.uri: problem.reason for problem in report.problems}
    if name == "kaldi":  # whose names stand in a table, of which the lines are told
        accented, barred = (f"wav.scp:{EACH * victims.index(path) + 1}" for path in others[:2])
    # Two corpora also tell what a lost recording leaves behind in a table, or that there is no trial list.
    assert {*bad, accented, barred} <= set(reasons)
    assert len(reasons) - len(bad) - 2 == {"kaldi": 1, "voxceleb1": 1}.get(name, 0)
    assert all(reason in reasons[uri] and reasons[uri] for uri, reason in bad.items())
    assert any(said in reasons[accented] for said in ("UTF-8", "bad name"))
    assert any(said in reasons[barred] for said in ("|", "bad name"))
    rows = {row["uri"]: row for row in report.manifest.utterances.to_pylist()}
    every = {path.relative_to(root).as_posix() for own in files for path in own}
    assert set(rows) == every - set(bad) - gone
    for uri, (samples, rate) in odd.items():
        row = rows[uri]
        assert (row["sample_rate"], row["seconds"]) == (rate, pytest.approx(len(samples) / rate, abs=0.001))
        heard = recordings.read(report.manifest, uri)
        ratio = Fraction(16000, rate)
        expected = resample_poly(samples.mean(axis=1), ratio.numerator, ratio.denominator)
        assert len(heard) == pytest.approx(len(expected), abs=1)
        inner = slice(400, min(len(heard), len(expected)) - 400)  # filters differ at the ends
        np.testing.assert_allclose(heard[inner], expected[inner], atol=0.01)


def tones(rng, rate, channels):
    """1.3 s of tones under 3 kHz [T, channels], other ones in each channel."""
    time = np.arange(round(1.3 * rate)) / rate
    chords = [[np.sin(2 * np.pi * f * time) for f in rng.uniform(200, 3000, 3)] for _ in range(channels)]
    return 0.1 * np.stack([np.sum(chord, axis=0) for chord in chords], axis=1).astype(np.float32)


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3", "ogg", "m4a"])
def test_cut_and_scratched_files_of_every_kind(kind, tmp_path, record, recode):
    """What is kept of files that were cut off, or damaged in the middle, is as long as the manifest says."""
    root = tmp_path / "corpus"
    rng = np.random.default_rng(0)
    for speaker in range(8):
        record(tmp_path / "whole.wav", seconds=3.0)
        for number in range(2):
            recode(tmp_path / "whole.wav", root / f"s{speaker}" / "a" / f"{number}.{kind}")
    spots = [root / f"s{speaker}" / "a" / f"0.{kind}" for speaker in range(8)]
    for spot, share in zip(spots, (0.01, 0.2, 0.5, 0.9), strict=False):
        content = spot.read_bytes()
        spot.write_bytes(content[: int(share * len(content))])
    for spot, share in zip(spots[4:], (0.3, 0.6), strict=False):
        content = bytearray(spot.read_bytes())
        begin = int(share * len(content))
        content[begin : begin + 2000] = rng.bytes(len(content[begin : begin + 2000]))
        spot.write_bytes(content)

    report = prepare("folder", root, tmp_path / "out")

    damaged = {path.relative_to(root).as_posix() for path in spots[:6]}
    listed = {problem.uri for problem in report.problems}
    rows = {row["uri"]: row for row in report.manifest.utterances.to_pylist()}
    assert f"s0/a/0.{kind}" in listed and listed <= damaged
    if kind == "mp3":  # whose header tells of more than there is
        assert any("cut off or damaged, it ends after" in problem.reason for problem in report.problems)
    assert set(rows) | listed == {f"s{speaker}/a/{number}.{kind}" for speaker in range(8) for number in range(2)}
    for uri, row in rows.items():
        heard = recordings.read(report.manifest, uri, row["start"], row["seconds"])
        assert len(heard) == pytest.approx(row["seconds"] * 16000, abs=2), uri
        assert row["seconds"] == pytest.approx(3, abs=0.15) or uri in damaged
