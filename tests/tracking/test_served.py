"""The served model: every row gets its own answer, over HTTP the same as in Python."""

import base64
import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request

import mlflow.pyfunc
import numpy as np
import pytest
import soundfile

from vgsr import speaker, tracking
from vgsr.tracking import served

COMMAND = [sys.executable, "-c", "from vgsr.cli import main; main()"]


@pytest.fixture(scope="module")
def promoted(tracker, finished, checkpoint):
    run = finished("served", "a", 0.3)
    tracking.promote(tracker, tracking.select(tracker, run)[0], checkpoint, reason="for these tests", champion=True)
    return tracking.run_uri(tracker, run, "model")


@pytest.fixture(scope="module")
def model(checkpoint):
    return speaker.load(checkpoint)


@pytest.fixture(scope="module")
def files(tiny):
    return sorted(tiny.rglob("*.flac"))[:2]


def encoded(file):
    return base64.b64encode(file.read_bytes()).decode()


def test_a_row_gets_what_the_model_says_of_its_files(model, files):
    one, other = map(encoded, files)
    np.testing.assert_allclose(served.answer(model, {"audio": one}, 0)["embedding"], model.embed(files[0]))
    said, decision = served.answer(model, {"enrol": one, "test": other}, 0), model.verify(*files)
    for name in ("score", "llr", "threshold", "accepted"):
        assert said[name] == getattr(decision, name)
    assert set(said) == {*vars(decision), "verdict"}


def test_problems_name_the_field_and_not_a_temporary_file(model, files, tmp_path):
    soundfile.write(tmp_path / "short.wav", soundfile.read(files[0])[0][:9600], 16000)
    said = served.answer(model, {"enrol": encoded(files[0]), "test": encoded(tmp_path / "short.wav")}, 0)
    assert any(problem.startswith("test has") for problem in said["problems"])
    assert said["verdict"].startswith("cannot judge: ") and "vgsr-serve" not in json.dumps(said)


def wave(seconds, rate=16000):
    return np.sin(np.arange(int(seconds * rate)) / 20)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"no audio at all"), "row 3: audio: unreadable"),
        (lambda path: path.write_bytes(b""), "row 3: audio: empty file"),
        (lambda path: soundfile.write(path, wave(0.2), 16000), "row 3: audio: 0.20 s is too short"),
        (lambda path: soundfile.write(path, wave(400, 1000), 1000), "row 3: audio: 400 s is too long"),
    ],
)
def test_audio_that_cannot_be_used_is_an_error_of_its_row(model, tmp_path, make, message):
    path = tmp_path / "x.wav"
    make(path)
    assert served.answer(model, {"audio": encoded(path)}, 3)["error"].startswith(message)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"audio": "@@"}, "row 0: audio: not base64"),
        ({"audio": 5}, "row 0: audio: not base64"),
        ({}, "row 0: give either audio, or enrol and test .* it has none of them"),
        ({"audio": None, "enrol": float("nan")}, "it has none of them"),
        ({"enrol": ""}, "row 0: enrol: empty file"),
    ],
)
def test_a_row_that_asks_for_nothing_is_told_how_to(model, row, message):
    (said,) = served.answer(model, row, 0).items()
    assert said[0] == "error" and re.search(message, said[1])


def test_a_row_asks_one_thing(model, files):
    one = encoded(files[0])
    assert "it has enrol" in served.answer(model, {"enrol": one}, 0)["error"]
    assert "it has audio and enrol and test" in served.answer(model, dict.fromkeys(served.FIELDS, one), 0)["error"]


def test_mlflow_loads_what_it_stored(promoted, model):
    loaded = mlflow.pyfunc.load_model(promoted)
    said = loaded.predict(loaded.input_example)
    assert len(said[0]["embedding"]) == 16 and said[1]["score"] == pytest.approx(1, abs=1e-6)
    outputs = {column.name for column in loaded.metadata.signature.outputs}
    assert outputs == {"embedding", "error", *said[1]}
    assert {column.name for column in loaded.metadata.signature.inputs} == set(served.FIELDS)


def post(port, request):
    data, kind = json.dumps(request).encode(), {"Content-Type": "application/json"}
    call = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", data, kind)
    with urllib.request.urlopen(call, timeout=60) as reply:
        return json.load(reply)["predictions"]


def test_the_champion_answers_over_http(promoted, tracker, model, files, free_port):
    one, other = map(encoded, files)
    port = free_port()
    server = subprocess.Popen(
        [*COMMAND, "serve", "--port", str(port)],
        env={**os.environ, "MLFLOW_TRACKING_URI": tracker.uri, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        while server.poll() is None:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        assert server.poll() is None, server.stdout.read().decode()
        rows = [{"audio": one}, {"audio": "bm90aGluZw=="}, {"enrol": one, "test": other}]
        embedded, broken, verified = post(port, {"dataframe_records": rows})
        np.testing.assert_allclose(embedded["embedding"], model.embed(files[0]), rtol=1e-4, atol=1e-5)
        assert set(broken) == {"error"} and broken["error"].startswith("row 1: audio: unreadable")
        assert verified["score"] == pytest.approx(model.verify(*files).score, abs=1e-5)
        with pytest.raises(urllib.error.HTTPError) as caught:
            post(port, {"dataframe_records": [{"nothing": "known"}]})
        assert caught.value.code == 400
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.communicate(timeout=60)
