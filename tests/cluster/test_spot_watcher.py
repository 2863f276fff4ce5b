"""The watcher as a process, against metadata services of this test and a `ray` that writes down how it was called."""

import json
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from .metadata import ACTION, PREEMPTED, TOKEN, Metadata, aws_answers, google, nothing, notice

WATCHER = Path(__file__).parents[2] / "cluster" / "spot_watcher.py"
NODE = ["--node-id", "ab" * 28, "--address", "10.0.0.1:6379"]


@pytest.fixture
def service():
    """Starts metadata services."""
    running = []

    def start(answers=None):
        running.append(Metadata(answers))
        return running[-1]

    yield start
    for one in running:
        one.server.shutdown()
        one.server.server_close()


@pytest.fixture
def ray(tmp_path):
    """A `ray` on PATH that writes its arguments to a file, one call a line, and fails the first `failures` times."""
    folder, calls, failures = tmp_path / "bin", tmp_path / "calls", tmp_path / "failures"
    folder.mkdir()
    calls.touch()
    program = folder / "ray"
    program.write_text(
        f"#!{sys.executable}\nimport json, pathlib, sys\n"
        f"calls, failures = pathlib.Path({str(calls)!r}), pathlib.Path({str(failures)!r})\n"
        "with calls.open('a') as file:\n    file.write(json.dumps(sys.argv[1:]) + '\\n')\n"
        "if failures.exists() and len(calls.read_text().splitlines()) <= int(failures.read_text()):\n"
        "    sys.exit('Error: the cluster does not answer')\n"
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)

    def called():
        return [json.loads(line) for line in calls.read_text().splitlines()]

    called.folder, called.failures = folder, failures
    return called


@pytest.fixture
def watcher(ray):
    """Starts watchers, one question in a tenth of a second; those that still run at the end of the test are killed."""
    running = []

    def start(url, *arguments):
        environment = {**os.environ, "PATH": f"{ray.folder}:{os.environ['PATH']}", "PYTHONUNBUFFERED": "1"}
        # The metadata service is never asked through a proxy: this one would answer nothing.
        environment |= {"http_proxy": "http://127.0.0.1:9", "no_proxy": ""}
        command = [sys.executable, str(WATCHER), "--poll=0.1", "--endpoint", url, *arguments]
        running.append(
            subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment)
        )
        return running[-1]

    yield start
    for one in running:
        one.kill()
        one.communicate()


def until(condition):
    """Wait for something to become true; a minute is for a machine that is busy beyond measure."""
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def check_drain(call, most, least=0):
    """One call of `ray drain-node` for NODE that Ray's own command line understands; the deadline it says."""
    from ray.scripts.scripts import cli, drain_node

    assert call[0] == "drain-node" and call[0] in cli.commands
    context = drain_node.make_context("drain-node", call[1:])
    assert (context.params["node_id"], context.params["address"]) == (NODE[1], NODE[3])
    assert context.params["reason"] == "DRAIN_NODE_REASON_PREEMPTION"
    assert least <= context.params["deadline_remaining_seconds"] <= most
    return context.params


def test_no_notice_no_drain(service, watcher, ray):
    metadata = service(aws_answers(nothing))
    one = watcher(metadata.url, "--provider=aws", *NODE)
    until(lambda: metadata.count(ACTION) >= 5)
    assert one.poll() is None and ray() == []
    assert metadata.count(TOKEN) == 1  # a token is for many questions
    one.send_signal(signal.SIGTERM)
    said, _ = one.communicate(timeout=60)
    assert one.returncode == 0, said
    assert "does not answer" not in said


def test_a_notice_drains_once_with_its_deadline_and_ends(service, watcher, ray):
    answers = aws_answers(nothing)
    metadata = service(answers)
    one = watcher(metadata.url, "--provider=aws", *NODE)
    until(lambda: metadata.count(ACTION) >= 2)
    assert ray() == []
    metadata.answers |= aws_answers(notice(90))
    said, _ = one.communicate(timeout=60)
    assert one.returncode == 0, said
    assert len(ray()) == 1
    params = check_drain(ray()[0], most=91, least=30)
    assert "AWS will terminate this instance at" in params["reason_message"]
    assert "is draining" in said


def test_an_outlived_token_is_renewed_without_a_word(service, watcher):
    tokens = ["first"]
    metadata = service(aws_answers(nothing, tokens))
    one = watcher(metadata.url, "--provider=aws", *NODE)
    until(lambda: metadata.count(ACTION) >= 2)
    tokens.append("second")
    asked = metadata.count(ACTION)
    until(lambda: metadata.count(ACTION) >= asked + 4)
    used = [headers.get("x-aws-ec2-metadata-token") for _, path, headers in metadata.asked if path == ACTION]
    assert used[0] == "first" and used[-1] == "second" and metadata.count(TOKEN) == 2
    one.send_signal(signal.SIGTERM)
    assert "does not answer" not in one.communicate(timeout=60)[0]


def test_imds_without_tokens_is_not_read(service, watcher, ray):
    """IMDSv1's answer to a question without a token is no notice: the watcher asks for a token first, always."""
    metadata = service({ACTION: notice()})
    one = watcher(metadata.url, "--provider=aws", *NODE)
    until(lambda: metadata.count(TOKEN) >= 3)
    assert metadata.count(ACTION) == 0 and ray() == [] and one.poll() is None


@pytest.mark.parametrize(
    "fault",
    [
        lambda request: request.say(500, "oops"),
        lambda request: request.say(200, "<html>a captive portal</html>"),
        lambda request: request.say(200, "{}"),
        lambda request: request.say(200, '"terminate"'),
        lambda request: request.say(200, b"\xff\xfe{"),
        lambda request: request.connection.close(),
        lambda request: time.sleep(5),
    ],
    ids=["500", "html", "empty", "a string", "odd bytes", "closed", "silence"],
)
def test_a_faulty_service_is_survived_and_told_once(service, watcher, ray, fault):
    metadata = service(aws_answers(fault))
    one = watcher(metadata.url, "--provider=aws", *NODE)
    until(lambda: metadata.count(ACTION) >= 2)
    assert one.poll() is None and ray() == []
    metadata.answers |= aws_answers(notice())
    said, _ = one.communicate(timeout=60)
    assert one.returncode == 0 and len(ray()) == 1, said
    assert said.count("does not answer as it should") == 1
    assert "answers again" in said


@pytest.mark.parametrize("at", [None, "soon", 5, "2026-13-45T00:00:00Z"])
def test_a_notice_without_a_readable_time_still_drains(service, watcher, ray, at):
    metadata = service(aws_answers(lambda request: request.say(200, json.dumps({"action": "stop", "time": at}))))
    assert watcher(metadata.url, "--provider=aws", *NODE).wait(60) == 0
    check_drain(ray()[0], most=120, least=60)


def test_a_notice_whose_time_has_passed_drains_at_once(service, watcher, ray):
    metadata = service(aws_answers(notice(-20)))
    assert watcher(metadata.url, "--provider=aws", *NODE).wait(60) == 0
    check_drain(ray()[0], most=0)


def test_a_drain_that_fails_is_tried_again(service, watcher, ray):
    ray.failures.write_text("2")
    metadata = service(aws_answers(notice(60)))
    said, _ = (one := watcher(metadata.url, "--provider=aws", *NODE)).communicate(timeout=60)
    assert one.returncode == 0 and len(ray()) == 3, said
    assert said.count("ray drain-node failed with 1: Error: the cluster does not answer") == 2


def test_a_drain_that_goes_on_failing_ends_with_the_deadline(service, watcher, ray):
    ray.failures.write_text("1000")
    metadata = service(aws_answers(notice(3)))
    said, _ = (one := watcher(metadata.url, "--provider=aws", *NODE)).communicate(timeout=60)
    assert one.returncode == 1 and ray(), said
    assert "the deadline has passed" in said


def test_google_says_true(service, watcher, ray):
    states = ["FALSE"]
    metadata = service(google(states))
    one = watcher(metadata.url, "--provider=gcp", *NODE)
    until(lambda: metadata.count(PREEMPTED) >= 2)
    assert ray() == [] and one.poll() is None
    assert metadata.count(PREEMPTED) == 2  # the second question is held
    states.append("TRUE")
    assert one.wait(60) == 0
    check_drain(ray()[0], most=30, least=1)


def test_sigterm_ends_a_held_question(service, watcher, ray):
    metadata = service(google(["FALSE"]))
    one = watcher(metadata.url, "--provider=gcp", *NODE)
    until(lambda: metadata.count(PREEMPTED) >= 2)
    one.send_signal(signal.SIGTERM)
    assert one.wait(20) == 0 and ray() == []


def test_preempted_before_the_watcher_started(service, watcher, ray):
    assert watcher(service(google(["TRUE"])).url, "--provider=gcp", *NODE).wait(60) == 0
    assert len(ray()) == 1


def test_who_is_not_google_is_not_believed(service, watcher, ray):
    metadata = service({PREEMPTED: lambda request: request.say(200, "TRUE")})  # without Metadata-Flavor
    one = watcher(metadata.url, "--provider=gcp", *NODE)
    until(lambda: metadata.count(PREEMPTED) >= 3)
    assert one.poll() is None and ray() == []


@pytest.mark.parametrize("answers, name", [(aws_answers(notice()), "aws"), (google(["TRUE"]), "gcp")])
def test_auto_finds_the_cloud(service, watcher, ray, answers, name):
    said, _ = (one := watcher(service(answers).url, *NODE)).communicate(timeout=60)
    assert one.returncode == 0 and len(ray()) == 1, said
    assert f"this machine is of {name}" in said


def test_once(service, watcher, ray):
    quiet = watcher(service(aws_answers(nothing)).url, "--provider=aws", "--once", *NODE)
    assert quiet.wait(60) == 0 and ray() == []
    said, _ = (nobody := watcher(service().url, "--once", *NODE)).communicate(timeout=60)
    assert nobody.returncode == 1 and "no metadata service answers" in said
    assert watcher(service(aws_answers(notice())).url, "--once", *NODE).wait(60) == 0
    assert len(ray()) == 1


def test_the_node_is_found_by_its_process(service, watcher, ray, tmp_path):
    """A process that is called as Ray's node process is; without --node-id its node is drained."""
    # Another test's Ray may run on this machine: then the watcher must say that it cannot choose.
    node, address = "cd" * 28, "127.0.0.1:6399"
    program = tmp_path / "raylet"
    program.symlink_to(sys.executable)
    script = "import time; time.sleep(600)"
    with subprocess.Popen([program, "-c", script, f"--node_id={node}", f"--gcs-address={address}"]) as stand_in:
        try:
            said, _ = watcher(service(aws_answers(notice(5))).url, "--provider=aws").communicate(timeout=60)
        finally:
            stand_in.kill()
    if "Ray nodes run here" in said:
        assert ray() == [] and "--node-id" in said
    else:
        assert f"--node-id={node}" in ray()[0] and f"--address={address}" in ray()[0]


def test_only_the_standard_library():
    """It must run wherever Ray's command does, also where nothing of VGSR is installed."""
    done = subprocess.run([sys.executable, "-I", "-S", str(WATCHER), "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
