"""What the model is given: files and arrays, many at once, good ones and bad ones."""

import pickle

import numpy as np
import pytest
import soundfile
from numpy.testing import assert_array_equal

from vgsr.data.audio import AudioError
from vgsr.speaker import RecordingsError, recordings


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros(16000, np.int16), "int16.*divide int16 by 32768"),
        (np.zeros(16000, np.int32), "int32: they must be floats in"),
        (np.zeros(16000, bool), "bool"),
        (np.zeros(16000, complex), "complex"),
        (np.zeros((16000, 2)), r"\[16000, 2\].*one-dimensional"),
        (np.array([0.0] * 16000 + [np.nan]), "not numbers"),
        (np.array([0.0] * 16000 + [np.inf]), "not numbers"),
        (np.array([0.0] * 16000 + [1e300]), "not numbers"),  # infinite in float32
        (np.zeros(7999), "0.50 s is too short|too short"),
        (np.zeros(0), "too short"),
    ],
)
def test_an_array_that_is_no_recording_is_refused(model, array, said):
    with pytest.raises(AudioError, match=f"the array: .*{said}"):
        model.embed(array)


def test_floats_of_any_width_are_one_recording(model, spoken):
    wave = spoken(1)
    assert recordings.samples(wave) is not None and recordings.samples(wave.astype(np.float64)).dtype == np.float32
    assert_array_equal(model.embed(wave), model.embed(wave.astype(np.float64)))
    assert_array_equal(model.embed(wave), model.embed(np.repeat(wave, 2)[::2]))  # a view with strides


def test_many_recordings_are_each_embedded_whole_and_alone(model, spoken, tmp_path):
    soundfile.write(tmp_path / "a.wav", spoken(1), 16000)
    several = [tmp_path / "a.wav", spoken(2, 3.1), str(tmp_path / "a.wav"), spoken(3, 0.5)]
    vectors = model.embed_all(several)
    assert vectors.shape == (4, 16) and vectors.dtype == np.float32
    for vector, recording in zip(vectors, several, strict=True):
        assert_array_equal(vector, model.embed(recording))
    assert model.embed_all([]).shape == (0, 16)


def test_each_distinct_recording_is_embedded_once(model, spoken, tmp_path, monkeypatch):
    soundfile.write(tmp_path / "a.wav", spoken(1), 16000)
    monkeypatch.chdir(tmp_path)
    embedded, ticks = [], []
    once = type(model)._embed
    monkeypatch.setattr(type(model), "_embed", lambda self, *given: embedded.append(given) or once(self, *given))
    wave = spoken(2)
    several = [tmp_path / "a.wav", wave, "a.wav", wave.copy(), "./a.wav", wave[:-1], "none.wav", "none.wav"]
    with pytest.raises(RecordingsError) as caught:
        model.embed_all(several, lambda: ticks.append(1))
    assert len(embedded) == 4 and len(ticks) == 8
    assert [problem.path for problem in caught.value.problems] == ["none.wav"]


def test_bad_recordings_are_told_together_and_good_work_is_kept(model, spoken, tmp_path):
    soundfile.write(tmp_path / "good.wav", spoken(1), 16000)
    soundfile.write(tmp_path / "short.wav", spoken(1)[:5000], 16000)
    (tmp_path / "empty.wav").touch()
    (tmp_path / "text.wav").write_text("nothing")
    good, bad = tmp_path / "good.wav", [tmp_path / f"{name}.wav" for name in ("short", "none", "empty", "text")]
    several = [bad[0], good, *bad[1:], np.zeros(3, np.int16), good]
    with pytest.raises(RecordingsError) as caught:
        model.embed_all(several)
    said = str(caught.value)
    assert said.startswith("5 recordings cannot be used")
    for part in ("short.wav: 0.31 s is too short", "no such file", "empty file", "text.wav: unreadable", "array 6: "):
        assert part in said
    assert np.isfinite(caught.value.result).all(axis=1).tolist() == [False, True, False, False, False, False, True]
    assert_array_equal(caught.value.result[1], model.embed(good))
    again = pickle.loads(pickle.dumps(caught.value))  # it may come from another process
    assert str(again) == said
    assert_array_equal(again.result, caught.value.result)


def test_trials_are_scored_as_they_are_verified(model, spoken, tmp_path):
    files = []
    for person in range(4):
        files.append(tmp_path / f"{person}.wav")
        soundfile.write(files[-1], spoken(person, 1.5 + 0.2 * person), 16000)
    trials = [(files[a], files[b]) for a in range(4) for b in range(4)]
    scores = model.score_trials(trials)
    assert scores.shape == (16,) and scores.dtype == np.float64
    for (one, other), score in zip(trials, scores, strict=True):
        a, b = model.embed(one).astype(float), model.embed(other).astype(float)
        assert score == pytest.approx(float(a @ b) / float(a @ a) ** 0.5 / float(b @ b) ** 0.5, abs=1e-12)
        assert model.verify(one, other).score == pytest.approx(score, abs=1e-12)
    assert model.calibration.llr(scores) == pytest.approx(10 * scores - 5)
    assert model.score_trials([]).shape == (0,)


def test_a_bad_recording_costs_its_trials_alone(model, spoken, tmp_path):
    one, other = spoken(1), spoken(2)
    with pytest.raises(RecordingsError, match="second array of trial 3") as caught:
        model.score_trials([(one, other), (tmp_path / "none.wav", one), (other, one[:9]), (one, one)])
    assert len(caught.value.problems) == 2
    scores = caught.value.result
    assert np.isnan(scores).tolist() == [False, True, True, False]
    assert scores[3] == pytest.approx(1) and scores[0] == model.score_trials([(one, other)])[0]


def test_an_embedding_that_is_no_number_is_told(model, spoken, monkeypatch):
    broken = lambda *_: np.full(16, np.nan, np.float32)  # noqa: E731
    monkeypatch.setattr("vgsr.evaluation.embedding.embed_wave", broken)
    with pytest.raises(AudioError, match="cannot be compared"):
        model.embed(spoken(1))
