"""Reverberation against direct convolution; banks of bounded size out of the published layout."""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from vgsr.data.audio import AudioError
from vgsr.data.augment import RirBank, reverberate, rir_files, rooms


def noise_of(shape: tuple[int, ...], seed: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("taps", [1, 50, 3000])
def test_reverberation_is_direct_convolution_with_the_power_kept(taps: int) -> None:
    wave, rirs = 0.1 * noise_of((3, 2000), 0), noise_of((2, taps), 1)
    wet = reverberate(wave, rirs, torch.tensor([1, -1, 0]))
    assert torch.equal(wet[1], wave[1])
    for row, rir in ((0, 1), (2, 0)):
        dry = wave[row].double().numpy()
        direct = np.convolve(dry, rirs[rir].double().numpy())[:2000]
        direct *= np.sqrt(np.mean(dry**2) / np.mean(direct**2))
        np.testing.assert_allclose(wet[row].numpy(), direct, atol=1e-5)


def test_reverberation_of_silence_and_of_nothing() -> None:
    silence = torch.zeros(2, 100)
    assert torch.equal(reverberate(silence, torch.ones(1, 10), torch.tensor([0, -1])), silence)
    wave = noise_of((2, 100), 0)
    assert torch.equal(reverberate(wave, torch.ones(1, 10), torch.tensor([-1, -1])), wave)


def test_bank_is_aligned_normalised_and_cut(tmp_path: Path) -> None:
    late = np.zeros(20000, dtype=np.float32)
    late[300], late[301], late[19000] = -0.5, 0.25, 0.1
    soundfile.write(tmp_path / "late.wav", late, 16000, "FLOAT")
    soundfile.write(tmp_path / "one.wav", np.array([0.2], dtype=np.float32), 16000, "FLOAT")
    soundfile.write(tmp_path / "silent.wav", np.zeros(10), 16000, "FLOAT")
    bank = RirBank.of(tmp_path)
    assert bank.rirs.shape == (2, 16000)
    assert [Path(problem.uri).name for problem in bank.problems] == ["silent.wav"]
    torch.testing.assert_close(bank.rirs[0, :2], torch.tensor([-0.5, 0.25]) / math.hypot(0.5, 0.25))
    torch.testing.assert_close(bank.rirs[1, :2], torch.tensor([1.0, 0.0]))


def test_of_several_microphones_the_first_is_taken(tmp_path: Path) -> None:
    """Their mean has as many direct paths as there are microphones."""
    both = np.zeros((400, 2), dtype=np.float32)
    both[10, 0], both[15, 0], both[200, 1] = 0.8, 0.2, 0.9
    soundfile.write(tmp_path / "array.wav", both, 16000, "FLOAT")
    (impulse,) = RirBank.of(tmp_path).rirs
    expected = torch.zeros(390)
    expected[0], expected[5] = 0.8, 0.2
    torch.testing.assert_close(impulse, expected / expected.norm())


def test_real_impulse_responses(shared_data: Path) -> None:
    bank = RirBank.of(shared_data / "rirs")
    assert len(bank.rirs) == len(bank.paths) == 4
    assert bank.rirs.shape[1] <= 16000
    torch.testing.assert_close(bank.rirs.square().sum(dim=1), torch.ones(4))
    assert (bank.rirs.abs().argmax(dim=1) == 0).all()


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """RIRS_NOISES with few rooms: 3 kinds × 4 rooms × 5 responses, 6 real ones, noises among and beside them."""
    root = tmp_path / "RIRS_NOISES"
    real = root / "real_rirs_isotropic_noises"
    files = [
        root / "simulated_rirs" / kind / f"Room{room:03d}" / f"Room{room:03d}-{number:05d}.wav"
        for kind in ("smallroom", "mediumroom", "largeroom")
        for room in range(4)
        for number in range(5)
    ]
    files += [real / f"RVB2014_type1_rir_largeroom1_near_{number}.wav" for number in range(6)]
    files += [real / f"RVB2014_type1_noise_largeroom1_{number}.wav" for number in range(3)]
    files += [root / "pointsource_noises" / f"noise-free-sound-{number:04d}.wav" for number in range(3)]
    for number, file in enumerate(files):
        file.parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(file, np.eye(1, 50 + number)[0], 16000, "PCM_16")
    (real / "rir_list").write_text("--rir-id …")
    return root


def kind_and_room(path: Path) -> tuple[str, str]:
    return path.parent.parent.name, path.parent.name


def test_what_is_no_response_is_left_out(published: Path) -> None:
    for folder in (published, published.parent):
        found = rir_files(folder)
        assert len(found) == 66 and not any("noise" in path.name for path in found)
    assert len(rir_files(published / "simulated_rirs")) == 60
    assert len(rir_files(published / "real_rirs_isotropic_noises")) == 6
    assert RirBank.of(published).rirs.shape[0] == 66
    with pytest.raises(AudioError, match="no usable"):
        RirBank.of(published / "pointsource_noises")


@pytest.mark.parametrize("most", [1, 4, 16, 24, 40, 65])
def test_a_bounded_bank_has_as_many_of_each_room_as_of_the_others(published: Path, most: int) -> None:
    found = rir_files(published, most)
    assert len(set(found)) == most and found == rir_files(published, most) == sorted(found)
    kinds = Counter(kind_and_room(path)[0] for path in found)
    simulated = [kinds[kind] for kind in ("smallroom", "mediumroom", "largeroom")]
    assert max(simulated) - min(simulated) <= 1
    assert kinds[published.name] >= min(6, min(simulated))
    rooms_of = Counter(kind_and_room(path) for path in found if path.parent.name.startswith("Room"))
    for kind in ("smallroom", "mediumroom", "largeroom"):
        in_rooms = [rooms_of[(kind, f"Room{room:03d}")] for room in range(4)]
        assert max(in_rooms) - min(in_rooms) <= 1


def test_nothing_but_the_chosen_files_is_opened(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened, original = [], rooms.recorded
    monkeypatch.setattr(rooms, "recorded", lambda path: (opened.append(path), original(path))[1])
    bank = RirBank.of(published, most=10)
    assert sorted(opened) == rir_files(published, 10) == [Path(path) for path in bank.paths]


def test_broken_responses_are_listed(published: Path) -> None:
    chosen = rir_files(published, 10)
    chosen[3].write_bytes(b"RIFFnothing")
    bank = RirBank.of(published, most=10)
    assert [problem.uri for problem in bank.problems] == [str(chosen[3])]
    assert list(bank.paths) == [str(path) for path in chosen if path != chosen[3]]


def test_a_folder_that_is_small_enough_is_taken_whole_and_in_order(tmp_path: Path) -> None:
    for name in ("b/1.wav", "a.wav", "c/x/2.flac", "b.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, [1.0], 16000)
    assert [path.relative_to(tmp_path).as_posix() for path in rir_files(tmp_path, 4)] == [
        "a.wav",
        "b.wav",
        "b/1.wav",
        "c/x/2.flac",
    ]
