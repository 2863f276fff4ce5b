import pytest

from vgsr.report.settings import Held, changes, held, parameters, same_but_control, without_folders

# What may stand in a reason, a parameter or a protocol, and what of it may be published.
TEXTS = {
    "cannot read /home/somebody/corpora/mine/a.wav: no header": "cannot read …/a.wav: no header",
    "['/data/one', '/data/two words/three']": "['…/one', '…/three']",
    "s3://bucket/runs/x/00015": "…/00015",
    "file:///home/somebody/mlflow.db and sqlite:////srv/m.db": "…/mlflow.db and …/m.db",
    "~/vgsr/runs/": "…/runs",
    "(/etc/passwd)": "(…/passwd)",
    "37 target and 370 non-target trials · trials avspeech/clips (407)": None,
    "and/or, 3 / 4, 1/2, MKD + QAW": None,
    "cosine minus the mean of avspeech/train, AS-norm top 300": None,
}


@pytest.mark.parametrize("text", TEXTS)
def test_folders_are_left_out_and_nothing_else(text):
    assert without_folders(text) == (TEXTS[text] or text)


def test_no_parameter_keeps_a_folder(tracked_run):
    found = parameters(tracked_run("MKD + QAW"))
    assert found["corpus.manifest"] == "…/mine"
    assert found["augment.noise"] == "…/some noise"
    assert found["distill.method"] == "cosine"
    assert not any("/home" in value or "/data" in value for value in found.values())


def test_changes_are_those_of_the_experiment_as_one_would_type_them(tracked_run):
    base = tracked_run("search")
    assert changes(tracked_run("as it is", seed=4), base) == ""
    run = tracked_run("other", changes={"distill.margin.value": 0.123456, "quality.signals": []})
    assert changes(run, base) == "distill.margin.value=0.123 quality.signals=[]"


def test_without_a_teacher_distillation_has_no_settings(tracked_run):
    base, run = tracked_run("search"), tracked_run("no teacher", changes={"distill": {"method": "none"}})
    assert changes(run, base) == "distill.method=none"
    assert held(run) == []


def test_margins_of_one_and_of_several_distillations(tracked_run):
    quantile = {"value": 0.4, "unit": "quantile"}
    two = tracked_run("two", changes={"distill": [{"method": "pkt", "margin": quantile}, {"method": "cosine"}]})
    assert held(tracked_run("one")) == [Held("cosine", "absolute", 0.3)]
    assert held(two) == [Held("pkt", "quantile", 0.4), Held("cosine", "absolute", 0.0)]


def test_a_control_is_the_same_but_for_the_faces(tracked_run):
    control = tracked_run("shuffled", seed=1, changes={"teacher.control": "shuffled"})
    assert same_but_control(control, tracked_run("arm", seed=0))
    assert not same_but_control(control, tracked_run("other", changes={"distill.margin.value": 0.31}))
