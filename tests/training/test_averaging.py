"""The average is the mean of the states that it was given, and goes through a checkpoint unchanged."""

import copy
import io

import pytest
import torch
from torch import nn

from vgsr import students
from vgsr.data import manifest as manifests
from vgsr.data.features import Fbank
from vgsr.training import checkpoint_files, loop, phases, state
from vgsr.training.averaging import Average
from vgsr.training.session import LocalSession
from vgsr.training.validation import validate


def modules(seed):
    torch.manual_seed(seed)
    student = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    for value in (*student.parameters(), student[1].running_mean, student[1].running_var):
        value.data = torch.randn(value.shape)
    student[1].num_batches_tracked.fill_(seed)
    return {"student": student, "heads": nn.Linear(2, 2)}


@pytest.mark.parametrize("interrupted", [None, 1, 2])
def test_the_average_is_the_mean_of_the_states(interrupted):
    states, average = [modules(seed) for seed in (1, 2, 3)], Average()
    for at, one in enumerate(states):
        if at == interrupted:
            file = io.BytesIO()
            torch.save(average.state(), file)
            average = Average()
            average.restore(torch.load(io.BytesIO(file.getvalue()), weights_only=True), one)
        average.add(one)
    result = modules(9)
    average.take(result)
    for part, module in result.items():
        for name, value in module.state_dict().items():
            if name.endswith("num_batches_tracked"):
                assert value == 9
                continue
            mean = torch.stack([one[part].state_dict()[name] for one in states]).double().mean(0)
            assert torch.equal(value, mean.float()) or torch.allclose(value, mean.float(), rtol=1e-7, atol=0), name
    assert average.count == 0 and not average.sums
    with pytest.raises(ValueError, match="nothing"):
        average.take(result)


@pytest.mark.parametrize(
    "change",
    [
        lambda state: state["sums"].popitem(),
        lambda state: state["sums"].update({"heads.bias": torch.zeros(7, dtype=torch.float64)}),
        lambda state: state["sums"].update({"heads.bias": torch.zeros(2)}),
        lambda state: state.update(count=0),
        lambda state: state.update(count=-1),
    ],
)
def test_sums_of_other_modules_are_refused(change):
    average = Average()
    average.add(modules(1))
    state = copy.deepcopy(average.state())
    change(state)
    with pytest.raises((ValueError, TypeError, KeyError)):
        Average().restore(state, modules(2))


def test_a_run_ends_with_the_mean_of_its_last_epochs(tiny_experiment, tmp_path):
    # The same epochs without averaging, seen at each one's end: they do not depend on it.
    experiment = tiny_experiment({"train.epochs": 3, "train.average": 2, "train.learning_rate": 1e-2})
    seen, rows = [], []

    class Watched(LocalSession):
        def report(self, row, write):
            seen.append({key: value.clone() for key, value in self.learner.student.state_dict().items()})
            rows.append(row)
            super().report(row, write)

    def run(one, name):
        session = Watched(tmp_path / name)
        built = loop.parts.build

        def build(*given):
            session.learner = built(*given)
            return session.learner

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(loop.parts, "build", build)
            loop.train(one, session)
        states = seen[:]
        seen.clear()
        return states

    plain = run(tiny_experiment({"train.epochs": 3, "train.learning_rate": 1e-2}), "plain")
    averaged = run(experiment, "averaged")
    assert [row["averaged"] for row in rows] == [False] * 5 + [True]
    assert all(torch.equal(plain[1][key], averaged[1][key]) for key in plain[1])
    for key, value in averaged[-1].items():
        if value.is_floating_point():
            mean = (plain[1][key].double() + plain[2][key].double()) / 2
            assert torch.equal(value, mean.float()), key
    assert any(not torch.equal(plain[2][key], averaged[2][key]) for key in plain[2])
    assert rows[5]["loss"] == rows[2]["loss"]
    # Its validation, and what the finished model decides by, are of the averaged weights, which the checkpoint holds.
    folder = tmp_path / "averaged" / "checkpoints" / "00003-000000"
    student = students.of(experiment.student)
    checkpoint_files.load_weights(folder / "student.safetensors", student)
    found = validate(
        student.eval(),
        Fbank(),
        manifests.read(experiment.corpus.manifest),
        experiment.evaluate.p_target,
        noise=None,
        snrs=(),
        rank=0,
        world=1,
        device=torch.device("cpu"),
    )
    assert found.figures().items() <= rows[5].items()
    assert state.header(folder)["eer_threshold"] == found.result.eer_threshold
    assert phases.stretches(experiment)[0].averaged(2) and not phases.stretches(experiment)[0].averaged(1)
