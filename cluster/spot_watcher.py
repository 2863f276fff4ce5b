"""Watches for the notice that this spot machine is about to be taken, and then drains its Ray node.

In: the metadata service of AWS (IMDSv2, two minutes' notice) or of Google Cloud (half a minute). Out: one call of
`ray drain-node` with reason preemption and the deadline of the notice: Ray Train writes a checkpoint in time and starts
nothing new here. Ray reads no such notice by itself on machines of its cluster launcher; on Kubernetes SIGTERM is the
notice, and this file is not needed.

AWS's rebalance recommendation is left alone: often no loss follows it, and a drain would throw away a good machine.
One file and the standard library, so that it runs wherever `ray` does:

    python spot_watcher.py                    # until the notice or SIGTERM; beside every Ray node on a spot machine
    python spot_watcher.py --once             # one look: 0 = asked, 1 = no metadata service, or the drain failed
"""

import argparse
import http.client
import json
import logging
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

AWS, GCP = "http://169.254.169.254", "http://metadata.google.internal"
TOKEN_SECONDS = 6 * 3600  # the longest that AWS gives; renewed when it is refused
TIMEOUT = 3.0
HELD = 60  # seconds for which Google's service holds an unanswered request
AWS_NOTICE, GCP_NOTICE = 120, 30  # seconds that the clouds promise
FAULTS = (OSError, http.client.HTTPException, ValueError)  # URLError and time-outs are OSErrors

log = logging.getLogger("spot_watcher")
# A proxy of the environment must never see, or answer, what is asked of this machine's own metadata service.
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass(frozen=True)
class Notice:
    """The machine goes in so many seconds."""

    seconds: int
    text: str


@dataclass(frozen=True)
class Answer:
    """What a metadata service said."""

    text: str
    headers: http.client.HTTPMessage


Look = Callable[[], Notice | None]  # raises one of FAULTS where the service cannot be asked


def ask(url: str, headers: dict[str, str], method: str = "GET", timeout: float = TIMEOUT) -> Answer:
    """One request; one of FAULTS when it fails."""
    request = urllib.request.Request(url, headers=headers, method=method)
    with opener.open(request, timeout=timeout) as response:
        return Answer(response.read(65536).decode("utf-8"), response.headers)


def aws(endpoint: str) -> Look:
    """Asks IMDSv2 for a spot instance action; gets a session token first, and a new one when that is refused."""
    token = ""

    def look() -> Notice | None:
        nonlocal token
        for fresh in (not token, True):
            if fresh:
                seconds = {"X-aws-ec2-metadata-token-ttl-seconds": str(TOKEN_SECONDS)}
                token = ask(f"{endpoint}/latest/api/token", seconds, "PUT").text.strip()
            try:
                url = f"{endpoint}/latest/meta-data/spot/instance-action"
                return read_action(ask(url, {"X-aws-ec2-metadata-token": token}).text)
            except urllib.error.HTTPError as error:
                if error.code == 404:  # no notice
                    return None
                if error.code != 401 or fresh:
                    raise
        raise AssertionError("not reached")

    return look


def read_action(text: str) -> Notice:
    """The notice in `{"action": "terminate", "time": "2026-01-31T08:22:00Z"}`; ValueError where it is none.

    A notice without a readable time counts from now: better a drain with a wrong deadline than none.
    """
    said = json.loads(text)
    if not isinstance(said, dict) or not said.get("action"):
        raise ValueError(f"not a spot notice: {text[:80]!r}")
    try:
        at = datetime.fromisoformat(said["time"])
        left = max(0, round(at.timestamp() - time.time()))
    except (KeyError, TypeError, ValueError):
        return Notice(AWS_NOTICE, f"AWS will {said['action']} this instance; the notice has no readable time")
    return Notice(left, f"AWS will {said['action']} this instance at {said['time']}")


def gcp(endpoint: str) -> Look:
    """Asks Google's service whether this machine is preempted; it holds the request until that changes."""
    known = "0"  # the first answer comes at once

    def look() -> Notice | None:
        nonlocal known
        query = f"wait_for_change=true&timeout_sec={HELD}&last_etag={known}"
        url = f"{endpoint}/computeMetadata/v1/instance/preempted?{query}"
        answer = ask(url, {"Metadata-Flavor": "Google"}, timeout=HELD + TIMEOUT)
        said = answer.text.strip().upper()
        if answer.headers.get("Metadata-Flavor") != "Google" or said not in ("TRUE", "FALSE"):
            raise ValueError(f"not Google's metadata service: {answer.text[:80]!r}")
        known = answer.headers.get("ETag", "0")
        return Notice(GCP_NOTICE, "Google Cloud preempts this instance") if said == "TRUE" else None

    return look


def found(provider: str, endpoint: str | None) -> Look:
    """The service to ask; with "auto" the one that answers. One of FAULTS when none does."""
    if provider != "auto":
        return {"aws": aws, "gcp": gcp}[provider](endpoint or {"aws": AWS, "gcp": GCP}[provider])
    faults = []
    for name in ("aws", "gcp"):
        look = found(name, endpoint)
        try:
            look()
        except FAULTS as fault:
            faults.append(f"{name}: {fault}")
        else:
            log.info("this machine is of %s", name)
            # Anew: what Google's service has already told must be told again.
            return found(name, endpoint)
    raise ConnectionError("; ".join(faults))


def raylets() -> Iterator[tuple[str, str]]:
    """(node id, address of the cluster) of each Ray node that runs here, as its process says."""
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_text(errors="replace").split("\0") if process.name.isdigit() else [""]
        except OSError:  # it has ended meanwhile
            continue
        if Path(words[0]).name == "raylet":
            options = dict(word.split("=", 1) for word in words[1:] if "=" in word)
            if "--node_id" in options and "--gcs-address" in options:
                yield options["--node_id"], options["--gcs-address"]


def drain(notice: Notice, until: float, node: tuple[str, str] | None) -> bool:
    """Have this node drained, tried again until the machine is gone. `until`: that moment, of `time.monotonic`."""
    while True:
        nodes = [node] if node else sorted(set(raylets()))
        if len(nodes) > 1:
            log.error("%d Ray nodes run here; say which one with --node-id and --address", len(nodes))
            return False
        if nodes and run_drain(*nodes[0], max(0, round(until - time.monotonic())), notice.text):
            log.info("node %s is draining; my work is done", nodes[0][0])
            return True
        if not nodes:
            log.warning("no Ray node runs here")
        if time.monotonic() >= until:
            log.error("the deadline has passed, the node was not drained")
            return False
        time.sleep(1)


def run_drain(node_id: str, address: str, seconds: int, message: str) -> bool:
    """Call Ray's (hidden) command; whether it was accepted."""
    command = ["ray", "drain-node", f"--address={address}", f"--node-id={node_id}"]
    command += ["--reason=DRAIN_NODE_REASON_PREEMPTION", f"--reason-message={message}"]
    try:
        done = subprocess.run(
            [*command, f"--deadline-remaining-seconds={seconds}"],
            capture_output=True,
            text=True,
            timeout=max(10, seconds),
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as fault:
        log.warning("could not drain: %s", fault)
        return False
    if done.returncode:
        last = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["it said nothing"]
        log.warning("ray drain-node failed with %d: %s", done.returncode, last[0])
    return not done.returncode


def watch(provider: str, endpoint: str | None, poll: float, once: bool) -> Notice | None:
    """Ask until there is a notice; of a fault the first and the end are told, not each."""
    look: Look | None = None
    faulty = False
    while True:
        try:
            look = look or found(provider, endpoint)
            notice = look()
        except FAULTS as fault:
            if once:
                raise
            if not faulty:
                log.warning("the metadata service does not answer as it should (%s); asking on", fault)
            faulty, notice = True, None
        else:
            if faulty:
                log.info("the metadata service answers again")
            faulty = False
        if notice or once:
            return notice
        time.sleep(poll)


def main() -> int:
    """Watch; 0 when there was nothing to do or the node is draining."""
    parser = argparse.ArgumentParser(description="Drain this Ray node when its spot machine is about to be taken.")
    parser.add_argument("--provider", choices=["auto", "aws", "gcp"], default="auto")
    parser.add_argument("--endpoint", help="URL of the metadata service, for tests")
    parser.add_argument("--node-id", help="the Ray node to drain; needed where several run on this machine")
    parser.add_argument("--address", help="host:port of the cluster; needed with --node-id")
    parser.add_argument("--poll", type=float, default=2.0, help="seconds between two questions")
    parser.add_argument("--once", action="store_true", help="ask once and end")
    given = parser.parse_args()
    if (given.node_id is None) != (given.address is None):
        parser.error("--node-id and --address go together")
    logging.basicConfig(format="%(asctime)s spot_watcher: %(message)s", level=logging.INFO, stream=sys.stdout)
    # Not sys.exit: an exception that is raised while an object is finalised is lost, and the watcher would go on.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    log.info("watching for a spot notice (pid %d)", os.getpid())
    try:
        notice = watch(given.provider, given.endpoint, given.poll, given.once)
    except FAULTS as fault:
        log.error("no metadata service answers: %s", fault)
        return 1
    if notice is None:
        log.info("no notice")
        return 0
    log.warning("%s, in %d s: draining its Ray node", notice.text, notice.seconds)
    node = (given.node_id, given.address) if given.node_id else None
    return 0 if drain(notice, time.monotonic() + notice.seconds, node) else 1


if __name__ == "__main__":
    sys.exit(main())
