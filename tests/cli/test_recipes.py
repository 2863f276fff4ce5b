"""The recipes: they are what was published, they validate, and each trains."""

import numpy as np
import pytest
import soundfile

from vgsr import config
from vgsr.training import loop
from vgsr.training.local import LocalSession
from vgsr.training.schedule import learning_rate

NAMES = ["vox1_resnet34", "vox1_ecapa512", "vox2_resnet34", "vox2_redimnet_b2", "cnceleb_resnet34"]
GIVEN = ["corpus.manifest=x", "teacher.bank=y"]
# As the published schedules, but short: one epoch, and one of the phase after it, of two small steps each.
SHORT = [
    "train.epochs=1",
    "train.batch=12",
    "train.crop_seconds=0.4",
    "train.warmup_epochs=0",
    "train.average=1",
    "phases.0.epochs=1",
    "phases.0.batch=12",
    "phases.0.crop_seconds=0.5",
    "classification.margin_start=0",
    "classification.margin_full=0",
]


def test_there_is_each_with_and_without_a_teacher():
    assert config.recipes() == sorted([*NAMES, *(f"{name}_taught" for name in NAMES)])


@pytest.mark.parametrize("name", NAMES)
def test_a_teacher_is_all_that_is_different(name):
    plain, taught = config.load(name, GIVEN), config.load(f"{name}_taught", GIVEN)
    assert (plain.name, taught.name) == (name, f"{name}_taught")
    assert not plain.taught and taught.taught and taught.quality.signals
    same = {"name": name, "distill": plain.distill, "quality": plain.quality}
    assert taught.model_copy(update=same) == plain


@pytest.mark.parametrize(("name", "batch", "epochs"), [("vox2_resnet34", 256, 150), ("vox2_redimnet_b2", 512, 120)])
def test_learning_rates_are_wespeakers(name, batch, epochs):
    """ExponentialDecrease: scale · warm-up · initial · exp(progress · ln(final / initial)), scale = batch / 64."""
    recipe = config.load(name, GIVEN)
    assert (recipe.train.batch, recipe.train.epochs) == (batch, epochs)
    for epoch in (0.5, 3, 6, 60, epochs):
        wanted = batch / 64 * min(epoch / 6, 1) * 0.1 * np.exp(epoch / epochs * np.log(5e-5 / 0.1))
        found = learning_rate(
            epoch,
            peak=recipe.train.learning_rate,
            final=recipe.train.final_learning_rate,
            warmup=recipe.train.warmup_epochs,
            epochs=epochs,
        )
        assert found == pytest.approx(wanted)
    (phase,) = recipe.phases
    assert (phase.epochs, phase.margin, phase.learning_rate) == (5, 0.5, pytest.approx(1e-4 * phase.batch / 64))


def test_a_misspelt_recipe():
    with pytest.raises(config.ConfigError, match="neither a file nor a recipe; did you mean 'vox1_resnet34'"):
        config.load("vox1_resnet43")


def test_what_is_to_be_given_is_asked_for():
    with pytest.raises(config.ConfigError, match="'corpus' is missing"):
        config.load("vox1_resnet34")
    with pytest.raises(config.ConfigError, match="vgsr teach"):
        config.load("vox1_resnet34_taught", GIVEN[:1])


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A little MUSAN and a little RIRS_NOISES."""
    folder, rng = tmp_path_factory.mktemp("sources"), np.random.default_rng(0)
    for place in ("noise/free-sound", "music/fma", "speech/librivox"):
        (folder / "musan" / place).mkdir(parents=True)
        soundfile.write(folder / "musan" / place / "a.wav", 0.1 * rng.standard_normal(16000), 16000)
    room = folder / "RIRS_NOISES" / "simulated_rirs" / "smallroom" / "Room001"
    room.mkdir(parents=True)
    soundfile.write(room / "Room001-00001.wav", np.exp(-np.arange(800) / 100) * 0.5, 16000)
    return [f"augment.noise={folder / 'musan'}", f"augment.rirs={folder / 'RIRS_NOISES'}"]


@pytest.fixture
def given(tiny, sources):
    return [f"corpus.manifest={tiny}", f"teacher.bank={tiny / 'banks' / 'synthetic.parquet'}", *sources]


@pytest.mark.parametrize("name", config.recipes())
def test_each_validates(name, given, vgsr):
    status, said = vgsr("validate", name, *given)
    assert status == 0, said
    assert f"{name}: valid" in said
    assert ("teacher" in said) == name.endswith("_taught")


@pytest.mark.parametrize("name", config.recipes())
def test_each_trains_two_steps_and_two_of_large_margins(name, given, tmp_path):
    rows = []
    loop.train(config.load(name, [*given, *SHORT]), LocalSession(tmp_path, rows.append))
    assert [row["phase"] for row in rows] == ["training", "large-margin"]
    assert all(np.isfinite(row["loss"]) and row["averaged"] == (row["phase"] == "training") for row in rows)
