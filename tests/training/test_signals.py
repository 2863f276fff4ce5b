"""Quality signals on their way from the tables to a crop: which, in what order, and what an added noise changes."""

import math
import pickle

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vgsr import config
from vgsr.config import SIGNALS
from vgsr.data import manifest as manifests
from vgsr.teachers import bank as banks
from vgsr.teachers.lists import Lists
from vgsr.teachers.pairing import QUALITY_COLUMNS, Pairing, pair
from vgsr.teachers.vectors import InMemory
from vgsr.training import signals
from vgsr.training.crops import Crops


def utterances(**columns):
    """Three utterances; a column that is not given is null."""
    table = {"speech_snr": [None] * 3, "speech_clipping": [None] * 3, "speech_dnsmos": [None] * 3, **columns}
    schema = [(name, pa.float32()) for name in table]
    seconds = pa.array([2.0, 3.0, 5.0], pa.float64())
    return pa.table(table, pa.schema(schema)).append_column("seconds", seconds)


def faces(**quality):
    """Four faces: two of the first utterance, none of the second, the last two of the third."""
    lists = Lists(np.array([0, 2, 1]), np.array([0, 2, 4, 4]), np.arange(4))
    unknown = np.full(4, np.nan, np.float32)
    known = {name: np.array(values, np.float32) for name, values in quality.items()}
    quality = {**dict.fromkeys(QUALITY_COLUMNS, unknown), **known}
    return Pairing(lists, InMemory(np.eye(4, dtype=np.float32)), quality, np.eye(4))


def test_every_signal_of_the_configuration_is_measured_somewhere():
    names = signals.measured(SIGNALS)
    assert set(SIGNALS) - set(names) == {"student_norm"}
    assert set(names) == {*QUALITY_COLUMNS, *(name for name in names if name.startswith("speech_"))}
    assert signals.of(SIGNALS, utterances(), faces()).table().shape == (3, len(names))


def test_columns_follow_the_configuration_without_the_online_one():
    table = utterances(speech_snr=[10.0, 90.0, None], speech_clipping=[1.0, 2.0, 3.0])
    names = ("speech_duration", "student_norm", "face_pose", "speech_clipping", "speech_snr")
    made = signals.of(names, table, faces(face_pose=[0.2, 0.4, 0.9, np.nan]))
    assert made.names == ("speech_duration", "face_pose", "speech_clipping", "speech_snr")
    expected = [[math.log(2), 0.3, 1, 10], [math.log(3), np.nan, 2, 40], [math.log(5), np.nan, 3, np.nan]]
    np.testing.assert_allclose(made.table(), expected, rtol=1e-6)
    assert made.of_crop(0, 1, math.inf) == pytest.approx([math.log(2), 0.4, 1, 10])
    assert made.of_crop(2, None, math.inf) == pytest.approx([math.log(5), math.nan, 3, math.nan], nan_ok=True)


def test_without_a_teacher_signals_of_the_face_are_not_known():
    made = signals.of(("face_norm", "speech_snr"), utterances(speech_snr=[1.0, 2.0, 3.0]), None)
    np.testing.assert_allclose(made.table(), [[np.nan, 1], [np.nan, 2], [np.nan, 3]])
    assert made.of_crop(1, None, math.inf) == pytest.approx([math.nan, 2], nan_ok=True)


decibels = st.floats(-20, 100)


@given(own=st.one_of(decibels, st.none()), drawn=st.one_of(decibels, st.just(math.inf)))
def test_the_noise_that_is_drawn_adds_to_that_of_the_recording_and_moves_nothing_else(own, drawn):
    table = utterances(speech_snr=[own] * 3, speech_clipping=[3.0] * 3, speech_dnsmos=[2.5] * 3)
    snr, *others = signals.of(
        ("speech_snr", "speech_clipping", "speech_dnsmos", "speech_duration"), table, None
    ).of_crop(0, None, drawn)
    noise = (0 if own is None else 10 ** (-own / 10)) + (0 if math.isinf(drawn) else 10 ** (-drawn / 10))
    expected = math.nan if own is None and math.isinf(drawn) else min(40.0, -10 * math.log10(noise))
    assert snr == pytest.approx(expected, abs=1e-4, nan_ok=True)
    assert others == pytest.approx([3.0, 2.5, math.log(2)])


def test_known_are_the_signals_that_tell_samples_apart():
    table = utterances(
        speech_snr=[50.0, 60.0, None],  # all of it counts as clean
        speech_clipping=[1.0, None, 2.0],
        speech_dnsmos=[3.0, 3.0, 3.0],
    )
    pairing = faces(face_norm=[1, 3, 2, 2], face_pose=[0.5, 0.5, 0.9, 0.9], face_agreement=[0.5, np.nan, 0.7, 0.7])
    assert signals.known(table, pairing) == ("face_pose", "speech_clipping", "speech_duration", "student_norm")
    assert signals.known(table, None) == ("speech_clipping", "speech_duration", "student_norm")
    assert signals.known(table.slice(0, 1), None) == signals.known(table.slice(0, 0), None) == ("student_norm",)


def test_crops_carry_the_signals_of_their_own_utterance_and_face(tiny, tiny_experiment):
    experiment = tiny_experiment({"quality.signals": list(SIGNALS)})
    manifest = manifests.read(tiny)
    train = manifest.split("train")
    people = train["speaker"].to_pylist()
    bank = banks.read(experiment.teacher.bank)
    pairing = pair(people, train["session"].to_pylist(), sorted(set(people)), bank)
    crops = Crops(experiment, manifest, train, sorted(set(people)), pairing)
    names = signals.measured(config.SIGNALS)
    for row in (0, 5, 11):
        crop = crops[(0, row, row)]
        utterance = train.slice(row, 1).to_pylist()[0]
        face = next(f for f in pairing.faces[row] if np.array_equal(pairing.direction(f), crop["teacher"]))
        known = {**utterance, **bank.table.slice(int(face), 1).to_pylist()[0]}
        known["speech_duration"] = math.log(utterance["seconds"])
        known["speech_snr"] = min(utterance["speech_snr"], 40.0)
        expected = [math.nan if known[name] is None else known[name] for name in names]
        assert crop["signals"] == pytest.approx(expected, rel=1e-5, nan_ok=True)
    batch = crops.collate([crops[(0, row, row)] for row in range(4)])
    assert batch["signals"].shape == (4, len(names)) and crops.training_signals().shape == (len(train), len(names))
    assert pickle.loads(pickle.dumps(crops))[(0, 0, 3)]["signals"] == pytest.approx(
        crops[(0, 0, 3)]["signals"], nan_ok=True
    )
