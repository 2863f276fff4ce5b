"""Crops and the front end: what a batch holds, from several kinds of noise to several speeds, and who decides it."""

import math
import pickle

import numpy as np
import pytest
import soundfile
import torch
from safetensors.torch import load_file

from vgsr.config import ConfigError
from vgsr.data import audio, batches, recordings
from vgsr.data import manifest as manifests
from vgsr.data.augment import Draw, needed
from vgsr.training import check, loop
from vgsr.training.crops import Crops
from vgsr.training.frontend import Frontend

from .runs import latest, rows_of

pytestmark = pytest.mark.usefixtures("one_thread")

SPEEDS = [1.0, 0.9, 1.1]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """MUSAN and RIRS_NOISES, of a few recordings each."""
    root, rng = tmp_path_factory.mktemp("folders"), np.random.default_rng(0)
    for kind in ("noise", "music", "speech"):
        for number in range(4):
            place = root / "musan" / kind / "subset" / f"{kind}-{number}.wav"
            place.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(place, 0.1 * rng.standard_normal(12000), 16000)
    for room in range(3):
        place = root / "RIRS_NOISES" / "simulated_rirs" / "smallroom" / f"Room{room:03d}" / f"Room{room:03d}-0.wav"
        place.parent.mkdir(parents=True)
        soundfile.write(place, np.exp(-np.arange(2000) / 200) * rng.standard_normal(2000), 16000)
    return {"augment.noise": str(root / "musan"), "augment.rirs": str(root / "RIRS_NOISES")}


def same(one, other):
    """Equal, where a signal that is not known is NaN."""
    return one.shape == other.shape and bool(((one == other) | (one.isnan() & other.isnan())).all())


EVERYTHING = {
    "augment.noise_probability": 0.7,
    "augment.rir_probability": 0.5,
    "augment.speeds": SPEEDS,
    "augment.band_probability": 0.5,
    "augment.time_masks": 2,
}


def crops_of(experiment):
    manifest = manifests.read(experiment.corpus.manifest)
    train = manifest.split("train")
    return Crops(experiment, manifest, train, sorted(set(train["speaker"].to_pylist())), None), train.to_pylist()


def epoch(experiment, world=1, processes=0, epoch=0):
    """The global batches of an epoch, put together from their workers' shares; and the front end."""
    crops, _ = crops_of(experiment)
    shares = [
        list(
            batches.loader(
                crops,
                batches.WorkerBatches(len(crops), 8, experiment.seed, epoch, rank, world),
                crops.collate,
                processes,
                pin=False,
            )
        )
        for rank in range(world)
    ]
    return shares, Frontend(experiment, crops.rirs)


@pytest.mark.parametrize(("world", "processes"), [(2, 0), (3, 0), (1, 1)])
def test_workers_and_processes_do_not_change_a_batch(tiny_experiment, folders, world, processes):
    experiment = tiny_experiment({**EVERYTHING, **folders})
    ((whole,), frontend), (shares, _) = epoch(experiment), epoch(experiment, world, processes)
    for one, *parts in zip(whole, *shares, strict=True):
        for name, tensor in one.items():
            assert same(tensor, torch.cat([part[name] for part in parts])), name
        features = torch.cat([frontend(part) for part in parts])
        torch.testing.assert_close(frontend(one), features, atol=2e-3, rtol=1e-3)  # a row's own, whoever computes it


def test_a_batch_holds_every_kind_of_disturbance(tiny_experiment, folders):
    experiment = tiny_experiment({**EVERYTHING, **folders})
    rows = {name: [] for name in ("snr_db", "rir_index", "speed", "band")}
    for number in range(4):
        ((found,), _) = epoch(experiment, epoch=number)
        for batch in found:
            for name, values in rows.items():
                values += batch[name].tolist()
            assert batch["wave"].shape == (8, needed(8000, 1.1)) and batch["noise"].shape == (8, 8000)
            assert batch["masks"].shape == (8, 2, 4)
            for row, level in enumerate(batch["snr_db"].tolist()):
                assert bool(batch["noise"][row].any()) == math.isfinite(level)
                own = needed(8000, SPEEDS[batch["speed"][row]])
                assert not batch["wave"][row, own:].any() and batch["wave"][row, :own].any()
    assert set(rows["speed"]) == {0, 1, 2} and set(rows["band"]) == {-1, 0, 1, 2, 3}
    assert set(rows["rir_index"]) == {-1, 0, 1, 2}
    finite = [level for level in rows["snr_db"] if math.isfinite(level)]
    assert min(finite) < 5 and max(finite) > 15 and len(finite) / len(rows["snr_db"]) == pytest.approx(0.7, abs=0.15)


def test_a_crop_is_a_stretch_of_its_utterance_at_its_speed(tiny_experiment):
    """The recorded samples themselves, as many as its speed needs, and the class of the speaker at that speed."""
    experiment = tiny_experiment({"augment.speeds": SPEEDS})
    crops, rows = crops_of(experiment)
    people = sorted({row["speaker"] for row in rows})
    manifest, seen = manifests.read(experiment.corpus.manifest), set()
    for position in range(24):
        row = position % len(rows)
        crop = crops[(0, position, row)]
        factor = SPEEDS[crop["draw"].speed]
        seen.add(factor)
        assert len(crop["wave"]) == needed(8000, factor)
        assert divmod(crop["label"], len(people)) == (crop["draw"].speed, people.index(rows[row]["speaker"]))
        offset = batches.generator(0, 0, position, batches.Stream.CROP).random()
        spare = max(0.0, rows[row]["seconds"] - len(crop["wave"]) / audio.RATE)
        expected = recordings.read(
            manifest, rows[row]["uri"], rows[row]["start"] + offset * spare, len(crop["wave"]) / audio.RATE
        )
        np.testing.assert_array_equal(crop["wave"], np.resize(expected, len(crop["wave"])))
    assert seen == set(SPEEDS)


def test_speeds_need_not_be_other_speakers(tiny_experiment):
    crops, rows = crops_of(tiny_experiment({"augment.speeds": SPEEDS, "augment.speeds_as_speakers": False}))
    people = sorted({row["speaker"] for row in rows})
    drawn = [crops[(0, position, position % len(rows))] for position in range(12)]
    assert [crop["label"] for crop in drawn] == [people.index(rows[at % len(rows)]["speaker"]) for at in range(12)]
    assert len({crop["draw"].speed for crop in drawn}) > 1


@pytest.mark.parametrize(
    "off",
    [
        {"augment.speeds": [1.0]},
        {"augment.noise": None},
        {"augment.rirs": None},
        {"augment.band_probability": 0.0},
        {"augment.kinds.babble": 0.0},
    ],
)
def test_what_is_switched_off_leaves_the_rest_of_a_batch_as_it_was(tiny_experiment, folders, off):
    changes = {**EVERYTHING, **folders}
    ((full,), _), ((without,), _) = epoch(tiny_experiment(changes)), epoch(tiny_experiment({**changes, **off}))
    moved = {
        "augment.speeds": {"wave", "speed", "label"},
        "augment.noise": {"noise", "snr_db", "signals"},
        "augment.rirs": {"rir_index"},
        "augment.band_probability": {"band"},
        "augment.kinds.babble": {"noise", "snr_db", "signals"},
    }[next(iter(off))]
    for one, other in zip(full, without, strict=True):
        for name in one.keys() - moved:
            assert same(one[name], other[name]), name
        if "speed" in moved:
            as_recorded = one["speed"] == 0
            assert torch.equal(one["wave"][as_recorded, :8000], other["wave"][as_recorded])


def test_the_signal_of_a_crop_is_the_snr_of_its_own_kind(tiny_experiment, folders):
    """Noise and babble are mixed into recordings whose own SNR is known; noise powers add."""
    experiment = tiny_experiment({**folders, "quality.signals": ["speech_snr"], "augment.noise_probability": 1.0})
    crops, rows = crops_of(experiment)
    kinds = set()
    for position in range(30):
        row = position % len(rows)
        crop = crops[(0, position, row)]
        kinds.add(crops.noise.kinds[crop["draw"].kind].name)
        low, high = crops.noise.kinds[crop["draw"].kind].snr
        assert low <= crop["draw"].snr_db <= high
        own = rows[row]["speech_snr"]
        joint = -10 * math.log10(10 ** (-own / 10) + 10 ** (-crop["draw"].snr_db / 10))
        assert crop["signals"] == pytest.approx([min(joint, 40.0)], abs=1e-4)
    assert kinds == {"noise", "music", "babble"}


def test_five_decibels_of_white_noise_and_of_its_mixtures_are_five(tiny_experiment, folders):
    """Measured on what reaches the filterbank: the difference from the same batch without noise."""
    five = {f"augment.kinds_snr.{kind}": [5, 5] for kind in ("noise", "music", "babble")}
    changes = {**folders, **five, "augment.noise_probability": 1.0, "augment.rir_probability": 0.5}
    experiment = tiny_experiment({**changes, "augment.speeds": SPEEDS})
    crops, _ = crops_of(experiment)
    drawn = [crops[(0, position, position % len(crops))] for position in range(24)]
    assert {crop["draw"].kind for crop in drawn} == {crop["draw"].speed for crop in drawn} == {0, 1, 2}
    assert {crop["draw"].rir_index for crop in drawn} == {-1, 0, 1, 2}
    batch, heard = crops.collate(drawn), []
    frontend = Frontend(experiment, crops.rirs)
    frontend.fbank.register_forward_pre_hook(lambda module, given: heard.append(given[0].double()))
    for level in (batch["snr_db"], torch.full((24,), math.inf)):
        frontend({**batch, "snr_db": level})
    noisy, clean = heard
    ratio = 10 * torch.log10(clean.square().mean(dim=1) / (noisy - clean).square().mean(dim=1))
    assert noisy.shape == (24, 8000) and (ratio - 5).abs().max() < 0.05


def test_what_a_line_takes_it_takes_from_the_noise_too(tiny_experiment, folders):
    experiment = tiny_experiment({**folders, "augment.band_probability": 1.0, "augment.rir_probability": 0.5})
    crops, _ = crops_of(experiment)
    batch = crops.collate([crops[(0, position, position)] for position in range(8)])
    frontend, heard = Frontend(experiment, crops.rirs), []
    frontend.fbank.register_forward_pre_hook(lambda module, given: heard.append(given[0].double()))
    batch["noise"] = torch.randn(8, 8000, generator=torch.Generator().manual_seed(0))
    frontend({**batch, "snr_db": torch.zeros(8), "band": torch.tensor([0, -1] * 4)})
    power = torch.fft.rfft(heard[0] * torch.hann_window(8000)).abs().square()
    above = 10 * torch.log10(power[:, 2100:].sum(dim=1) / power.sum(dim=1))  # 2 Hz a bin: above 4.2 kHz
    assert (above[::2] < -60).all() and (above[1::2] > -10).all()


def test_a_file_that_broke_is_silent_at_every_speed(tiny_experiment, monkeypatch):
    experiment = tiny_experiment({**EVERYTHING, "augment.speeds": SPEEDS})
    crops, _ = crops_of(experiment)

    def broken(*where):
        raise audio.AudioError("a.wav", "gone")

    monkeypatch.setattr(recordings, "read", broken)
    batch = crops.collate([crops[(0, position, 0)] for position in range(6)])
    assert set(batch["speed"].tolist()) == {0, 1, 2} and not batch["readable"].any()
    features = Frontend(experiment, None)(batch)
    assert features.shape == (6, 48, 80) and features.abs().max() < 1e-5


def test_a_loading_process_is_not_sent_the_bank(tiny_experiment, folders):
    crops, _ = crops_of(tiny_experiment({**folders, "augment.rir_probability": 1.0}))
    sent = pickle.loads(pickle.dumps(crops))
    assert sent.rirs is None and crops.rirs is not None
    assert [sent[(0, at, 0)]["draw"] for at in range(5)] == [crops[(0, at, 0)]["draw"] for at in range(5)]


CLASSES = {
    "train.epochs": 1,
    "augment.speeds": SPEEDS,
    "phases": [{"name": "large-margin", "epochs": 1, "margin": 0.4, "crop_seconds": 0.7, "speeds": False}],
}


@pytest.mark.parametrize("method", ["cosine", "kd", "dkd", "centres", "infonce"])
def test_three_classes_a_speaker_and_a_phase_without_other_speeds(tiny_experiment, tmp_path, monkeypatch, method):
    """A step learns 3 × the speakers; the teacher is asked about persons; fine-tuning keeps the classes, sees one."""
    experiment, seen, taken = tiny_experiment({**CLASSES, "distill.method": method}), [], loop._step

    def step(settings, session, learner, batch):
        persons = len(learner.speakers)
        taught = {}

        def watch(module, args, given):
            taught.update(labels=given["labels"], logits=given["logits"])

        hook = learner.objective.register_forward_pre_hook(watch, with_kwargs=True)
        figures = taken(settings, session, learner, batch)
        hook.remove()
        assert torch.equal(taught["labels"], batch["label"] % persons)
        assert taught["logits"].shape == (len(batch["label"]), persons)
        assert learner.heads.centres.shape[0] == 3 * persons
        seen.append((batch["wave"].shape[1], (batch["label"] // persons).tolist(), "speed" in batch))
        return figures

    monkeypatch.setattr(loop, "_step", step)
    rows = rows_of(experiment, tmp_path)
    training, tuning = seen[:3], seen[3:]
    assert len(training) == len(tuning) == 3 and all(math.isfinite(row["loss"]) for row in rows)
    assert {width for width, _, _ in training} == {8800} and {width for width, _, _ in tuning} == {11200}
    assert {speed for _, speeds, _ in training for speed in speeds} == {0, 1, 2}
    assert {speed for _, speeds, _ in tuning for speed in speeds} == {0}
    assert all(has for *_, has in training) and not any(has for *_, has in tuning)
    if method == "cosine":
        people = (latest(tmp_path) / "speakers.txt").read_text().split()
        assert len(load_file(latest(tmp_path) / "heads.safetensors")["centres"]) == 3 * len(people)


def test_validate_counts_the_classes(tiny_experiment, tiny, folders):
    speakers = len(manifests.read(tiny).split("train")["speaker"].unique())
    found = check.check(tiny_experiment({**EVERYTHING, **folders, "classification.top_k": 3 * speakers - 1}))
    assert f"classes: {speakers} speakers, each at 3 speeds" in found.lines
    noise = next(line for line in found.lines if line.startswith("noise: "))
    assert noise == (
        "noise: noise 0 to 15 dB, 4 recordings; music 5 to 15 dB, 4 recordings; "
        "babble 13 to 20 dB, 4 recordings (mixtures of 3 to 7); 0 left out"
    )
    with pytest.raises(ConfigError, match="top_k"):
        check.check(tiny_experiment({**EVERYTHING, "classification.top_k": 3 * speakers}))


def test_nothing_is_added_to_a_batch_that_nobody_asked_for(tiny_experiment):
    ((found,), frontend) = epoch(tiny_experiment())
    assert "speed" not in found[0] and "band" not in found[0] and "noise" not in found[0]
    assert found[0]["wave"].shape == (8, 8000)
    assert Draw() == Draw(masks=()) and frontend(found[0]).shape == (8, 48, 80)
