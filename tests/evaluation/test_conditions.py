"""Drawn conditions: what they do to samples against plain loops, and that nothing but what they may hangs on them."""

import shutil

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from vgsr.data.audio import RATE, AudioError
from vgsr.evaluation import conditions, disturbances, noisy
from vgsr.evaluation.conditions import ALL, CLEAN, Condition
from vgsr.evaluation.disturbances import DisturbanceError

SECONDS = {"a": 1.0, "b": 2.5, "c": 0.7, "d": 4.0}


@pytest.fixture(scope="module")
def found(musan, impulses):
    return disturbances.find(musan, impulses)


@pytest.fixture(scope="module")
def drawn(found):
    return conditions.draw(SECONDS, 0, found)


def speech(name):
    rng = np.random.default_rng(list(name.encode()))
    return (0.05 * rng.standard_normal(round(SECONDS[name] * RATE))).astype(np.float32)


def fate(table, condition, utterance):
    (row,) = [
        row for row in table.to_pylist() if row["condition"] == condition.name and row["utterance_id"] == utterance
    ]
    return row


def noises():
    return [one for one in ALL if one.level is not None and one.kind != "duration"]


def going_round(path, offset, samples):
    """Sample after sample, from the start again where the recording ends."""
    whole = soundfile.read(path, dtype="float32")[0]
    first = round(offset * RATE)
    return np.array([whole[(first + step) % len(whole)] for step in range(samples)])


def test_there_are_sixteen_conditions_of_the_noise_protocol_and_four_of_ours(found):
    assert [one.name for one in ALL[:3]] == ["clean", "noise 0 dB", "noise 5 dB"]
    kinds = [one.kind for one in ALL]
    assert {kind: kinds.count(kind) for kind in kinds} == {
        "clean": 1, "noise": 5, "babble": 5, "music": 5, "reverberation": 1, "duration": 3,
    }  # fmt: skip
    assert conditions.possible(found) == ALL


@pytest.mark.parametrize("condition", noises(), ids=lambda one: one.name)
def test_noise_is_the_mean_of_what_was_drawn_at_exactly_the_snr(condition, drawn, found, musan):
    disturb = conditions.disturbed(drawn, condition, found)
    for name in SECONDS:
        wave, row = speech(name), fate(drawn, condition, name)
        added = disturb(name, wave).astype(np.float64) - wave
        assert 10 * np.log10(np.mean(wave.astype(np.float64) ** 2) / np.mean(added**2)) == pytest.approx(
            condition.level, abs=0.01
        )
        assert len(row["files"]) in ((3, 4, 5, 6) if condition.kind == "babble" else (1,))
        assert len(set(row["files"])) == len(row["files"])
        mean = np.zeros(len(wave))
        for file, offset in zip(row["files"], row["offsets"], strict=True):
            mean += going_round(musan / file, offset, len(wave)) / len(row["files"])
        power = sum(float(x) ** 2 for x in mean) / len(mean)
        scale = (np.mean(wave.astype(np.float64) ** 2) / power / 10 ** (condition.level / 10)) ** 0.5
        assert np.abs(added - scale * mean).max() < 1e-5


def test_reverberation_is_a_convolution_that_keeps_length_and_power(drawn, found, impulses):
    condition = Condition("reverberation")
    disturb = conditions.disturbed(drawn, condition, found)
    for name in SECONDS:
        wave, (file,) = speech(name), fate(drawn, condition, name)["files"]
        impulse = soundfile.read(impulses / file)[0]
        wet = np.convolve(wave, impulse[np.abs(impulse).argmax() :])[: len(wave)]
        wet *= np.sqrt(np.mean(wave.astype(np.float64) ** 2) / np.mean(wet**2))
        assert np.abs(disturb(name, wave) - wet).max() < 1e-5
    assert {fate(conditions.draw({f"u{n}": 1.0 for n in range(20)}, 0, found), condition, f"u{n}")["files"][0]
            for n in range(20)} == {"room0.wav", "room1.wav"}  # fmt: skip


@pytest.mark.parametrize("level", [1.0, 2.0, 3.0])
def test_a_cut_is_so_many_seconds_of_the_utterance_or_all_of_it(level, drawn, found):
    condition = Condition("duration", level)
    disturb = conditions.disturbed(drawn, condition, found)
    starts = set()
    for name, seconds in SECONDS.items():
        wave, row = speech(name), fate(drawn, condition, name)
        cut = disturb(name, wave)
        assert len(cut) == min(len(wave), round(level * RATE))
        assert row["seconds"] == min(seconds, level)
        first = round(row["start"] * RATE)
        assert np.array_equal(cut, wave[first : first + len(cut)])
        starts.add(row["start"])
    assert starts - {0.0}


def test_clean_is_the_samples_as_they_are(drawn, found):
    assert "clean" not in drawn["condition"].to_pylist()
    wave = speech("a")
    assert conditions.disturbed(drawn, CLEAN, found)("a", wave) is wave


def test_a_draw_hangs_on_seed_condition_and_utterance_alone(drawn, found):
    rows = {(row["condition"], row["utterance_id"]): row for row in drawn.to_pylist()}
    assert len(rows) == drawn.num_rows == 19 * len(SECONDS)
    backwards = conditions.draw(dict(reversed([*SECONDS.items(), ("e", 1.5)])), 0, found)
    assert {
        key: row for row in backwards.to_pylist() if (key := (row["condition"], row["utterance_id"])) in rows
    } == rows
    for row in conditions.draw({"b": SECONDS["b"]}, 0, found).to_pylist():
        assert row == rows[row["condition"], "b"]
    other = conditions.draw(SECONDS, 1, found).to_pylist()
    moved = [
        row
        for row in other
        if row["offsets"] and row["offsets"] != rows[row["condition"], row["utterance_id"]]["offsets"]
    ]
    assert len(moved) == 15 * len(SECONDS)
    # Another SNR is another draw, not the same noise scaled.
    assert len({tuple(rows[f"music {snr:g} dB", "a"]["offsets"]) for snr in conditions.SNRS}) == 5


def test_parts_of_recordings_that_are_silent_are_not_drawn(found, musan, tmp_path):
    utterances = {f"u{number}": 0.5 for number in range(60)}
    table = conditions.draw(utterances, 0, found)
    gaps = [row for row in table.to_pylist() if row["files"] == ["noise/gaps.wav"]]
    assert len(gaps) > 20
    assert min(row["offsets"][0] for row in gaps) > 3.5  # its first four seconds are silent
    shutil.copytree(musan / "noise", tmp_path / "noise")
    for file in (tmp_path / "noise").iterdir():
        soundfile.write(file, np.zeros(RATE), RATE)
    with pytest.raises(AudioError, match=r"other recordings of noise are silent"):
        conditions.draw({"a": 0.5}, 0, disturbances.find(tmp_path, None))


@given(offset=st.integers(0, 4799), samples=st.integers(1, 12_000), seconds=st.sampled_from(["short", "long"]))
def test_a_part_goes_round_at_the_end_of_its_recording(musan, offset, samples, seconds):
    path, length = str(musan / f"noise/{seconds}.wav"), {"short": 0.3, "long": 6.0}[seconds]
    part = noisy.part(path, length, offset / RATE, samples)
    assert np.array_equal(part, going_round(path, offset / RATE, samples))


def test_what_a_folder_lacks_is_left_out_and_said(musan, tmp_path):
    shutil.copytree(musan / "speech", tmp_path / "speech")
    found = disturbances.find(tmp_path, None)
    assert [line.split(":")[0] for line in found.left_out] == ["noise", "music", "reverberation"]
    assert f"no recordings under {tmp_path / 'music'}" in found.left_out[1]
    assert {one.kind for one in conditions.possible(found)} == {"clean", "babble", "duration"}
    for file in sorted((tmp_path / "speech").iterdir())[2:]:
        file.unlink()
    shutil.copytree(musan / "music", tmp_path / "music")
    (tmp_path / "music" / "broken.wav").write_text("nothing")
    said = "\n".join(disturbances.find(tmp_path, None).left_out)
    assert "babble: 2 recordings" in said and "mean of 3 to 6" in said
    assert "music: 1 of 2 recordings left out" in said and "broken.wav" in said


def test_a_folder_with_another_layout_is_refused_with_the_right_one(musan, tmp_path):
    with pytest.raises(DisturbanceError, match=r"3 recordings lie in it directly.*noise/.*speech/.*music/"):
        disturbances.find(musan / "noise", None)
    with pytest.raises(DisturbanceError, match=r"no such folder.*laid out like MUSAN"):
        disturbances.find(tmp_path / "none", None)
    with pytest.raises(AudioError, match="no such folder"):
        disturbances.find(musan, tmp_path / "none")


def test_a_recording_that_a_model_was_trained_with_is_refused_whatever_its_name(found, musan, impulses, tmp_path):
    trained, rooms = tmp_path / "trained", tmp_path / "rooms"
    trained.mkdir(), rooms.mkdir()
    soundfile.write(trained / "long.wav", 0.1 * np.ones(6 * RATE), RATE, "FLOAT")  # a name and a size that ours has
    soundfile.write(rooms / "room0.wav", np.ones(400), RATE, "FLOAT")
    assert disturbances.refuse_training_noise(found, str(trained), str(rooms), "m") == []
    assert disturbances.refuse_training_noise(found, None, None, "m") == []
    shutil.copy(musan / "speech" / "voice3.wav", trained / "renamed.wav")
    with pytest.raises(DisturbanceError, match=r"m: .*voice3\.wav is also in its augment\.noise, as .*renamed\.wav"):
        disturbances.refuse_training_noise(found, str(trained), None, "m")
    shutil.copy(impulses / "room1.wav", rooms / "other.wav")
    with pytest.raises(DisturbanceError, match=r"room1\.wav is also in its augment\.rirs"):
        disturbances.refuse_training_noise(found, None, str(rooms), "m")
    (line,) = disturbances.refuse_training_noise(found, str(tmp_path / "gone"), None, "m")
    assert line.startswith("m: its augment.noise") and "not known" in line
