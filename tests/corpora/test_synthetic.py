"""The made-up corpus: reproducible to the bit, learnable, and honest about what it is."""

from pathlib import Path

import numpy as np
import pytest
from scipy.signal import spectrogram

from vgsr.corpora import CorpusError, prepare
from vgsr.corpora.identities import DIMENSION, VOICED, face_map, face_of, photograph, voice_of
from vgsr.data import audio
from vgsr.teachers import bank
from vgsr.teachers.pairing import QUALITY_COLUMNS

SMALL = {"speakers": 12, "sessions": 2, "utterances": 2}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return prepare("synthetic", None, tmp_path_factory.mktemp("synthetic"), **SMALL)


def content(report):
    root = Path(report.manifest.location)
    files = {str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*.flac"))}
    return files, bank.read(report.bank).matrix(), report.manifest.digest


def test_what_is_in_it(made):
    assert made.manifest.synthetic and made.problems == ()
    assert [(c.speakers, c.utterances, c.faces) for c in made.counts] == [(8, 32, 32), (2, 8, 8), (2, 8, 8)]
    assert set(made.trials) == {"validation", "test"}
    rows = made.manifest.utterances.to_pylist()
    assert {row["sample_rate"] for row in rows} == {16000}
    assert all(2.0 <= row["seconds"] <= 3.0 for row in rows)
    assert made.manifest.root == "."


def test_the_same_seed_gives_the_same_bytes(made, tmp_path):
    files, matrix, digest = content(made)
    same_files, same_matrix, same_digest = content(prepare("synthetic", None, tmp_path / "same", **SMALL))
    assert files == same_files and digest == same_digest
    assert matrix.tobytes() == same_matrix.tobytes()


def test_another_seed_gives_other_people(made, tmp_path):
    files, matrix, digest = content(made)
    other_files, other_matrix, other_digest = content(prepare("synthetic", None, tmp_path / "o", seed=1, **SMALL))
    assert files.keys() == other_files.keys() and digest != other_digest
    assert not any(files[name] == other_files[name] for name in files)
    assert not np.isclose(matrix, other_matrix).all(axis=1).any()


def test_more_speakers_leave_the_first_ones_as_they_were(made, tmp_path):
    more = prepare("synthetic", None, tmp_path / "more", **{**SMALL, "speakers": 14})
    files, more_files = content(made)[0], content(more)[0]
    assert all(more_files[name] == files[name] for name in files)


def test_without_some_faces_all_else_stays_as_it_was(made, tmp_path):
    some = prepare("synthetic", None, tmp_path / "some", faceless=0.5, **SMALL)
    assert content(some)[0] == content(made)[0] and some.manifest.utterances == made.manifest.utterances
    kept = some.manifest.faces["speaker"].unique().to_pylist()
    assert len(kept) == 6
    own, whole = (bank.read(report.bank) for report in (some, made))
    stays = np.isin(whole.table["speaker"].to_pylist(), kept)
    assert own.table["face_id"].to_pylist() == np.array(whole.table["face_id"].to_pylist())[stays].tolist()
    assert np.array_equal(own.matrix(), whole.matrix()[stays])
    with pytest.raises(CorpusError, match=r"faceless=1\.5; a share"):
        prepare("synthetic", None, tmp_path / "out", faceless=1.5, **SMALL)


def test_its_bank_fits_its_manifest(made):
    own = bank.read(made.bank)
    assert own.manifest_digest == made.manifest.digest and own.dimension == DIMENSION
    for column in ("face_id", "speaker", "session"):
        assert own.table[column].to_pylist() == made.manifest.faces[column].to_pylist()
    assert "synthetic" in own.model
    assert not any(own.table[name].null_count for name in QUALITY_COLUMNS)
    sessions = set(zip(*(made.manifest.utterances[c].to_pylist() for c in ("speaker", "session")), strict=True))
    assert sessions <= set(zip(*(own.table[c].to_pylist() for c in ("speaker", "session")), strict=True))


def test_utterances_of_a_person_are_closer_than_those_of_two(made):
    def shape(uri):
        wave = audio.read(made.manifest.file(uri))
        _, _, power = spectrogram(wave, 16000, nperseg=512, noverlap=256)
        bands = np.log(np.stack([part.mean(axis=0) for part in np.array_split(power[2:200], 40)]) + 1e-12)
        return np.concatenate([bands.mean(axis=1) - bands.mean(), bands.std(axis=1)])

    speakers = np.array(made.manifest.utterances["speaker"].to_pylist())
    sessions = np.array(made.manifest.utterances["session"].to_pylist())
    shapes = np.stack([shape(uri) for uri in made.manifest.utterances["uri"].to_pylist()])
    shapes = (shapes - shapes.mean(axis=0)) / shapes.std(axis=0)
    distance = np.linalg.norm(shapes[:, None] - shapes[None], axis=-1)
    same = speakers[:, None] == speakers[None]
    crossing = sessions[:, None] != sessions[None]
    assert distance[same & crossing].mean() < 0.95 * distance[~same].mean()


def test_faces_share_part_of_the_voice_and_keep_part_to_themselves():
    mapping = face_map(np.random.default_rng(0))
    latents = np.random.default_rng(1).standard_normal((2000, VOICED))
    faces = np.stack([face_of(z, mapping, np.random.default_rng(i)) for i, z in enumerate(latents)])
    assert np.allclose(np.linalg.norm(faces, axis=1), 1)
    fitted = latents @ np.linalg.lstsq(latents, faces, rcond=None)[0]
    explained = 1 - ((faces - fitted) ** 2).sum() / ((faces - faces.mean(0)) ** 2).sum()
    assert 0.4 < explained < 0.75


def test_picture_quality_follows_the_noise():
    rng = np.random.default_rng(0)
    face = face_of(rng.standard_normal(VOICED), face_map(rng), rng)
    pictures = [photograph(face, rng) for _ in range(800)]
    norms = np.array([np.linalg.norm(p.embedding) for p in pictures])
    closeness = np.array([p.embedding @ face for p in pictures]) / norms
    sharpness = np.array([p.sharpness for p in pictures])
    assert np.corrcoef(norms, closeness)[0, 1] > 0.6
    assert 0.2 < np.corrcoef(sharpness, closeness)[0, 1] < np.corrcoef(norms, closeness)[0, 1]
    pose = np.array([p.pose for p in pictures])
    assert 0.2 < np.corrcoef(pose, closeness)[0, 1] < np.corrcoef(norms, closeness)[0, 1]
    assert all(0 <= p.detection <= 1 and 0 <= p.pose <= 1 for p in pictures)


def test_voices_are_human():
    for seed in range(200):
        voice = voice_of(np.random.default_rng(seed).standard_normal(VOICED) * 2)
        assert 50 < voice.pitch < 500 and 10 < voice.tract < 22
        assert 0.3 < voice.open_quotient < 0.9 and voice.breath < 0.3


def test_impossible_sizes_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="sessions=0"):
        prepare("synthetic", None, tmp_path / "out", sessions=0)
