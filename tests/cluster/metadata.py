"""Metadata services of clouds, as a spot machine sees them: for tests of the watcher.

Usage: `service = Metadata(aws_answers(nothing))`, then `service.answers |= aws_answers(notice(90))`, and its `url`.
"""

import contextlib
import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

TOKEN, ACTION = "/latest/api/token", "/latest/meta-data/spot/instance-action"
PREEMPTED = "/computeMetadata/v1/instance/preempted"


class Metadata:
    """A metadata service: path prefix → function of the request's handler that answers it. It keeps what was asked."""

    def __init__(self, answers=None):
        self.asked, self.answers = [], dict(answers or {})
        service = self

        class Handler(BaseHTTPRequestHandler):
            def answer(self):
                service.asked.append((self.command, self.path, {k.lower(): v for k, v in self.headers.items()}))
                for prefix, say in service.answers.items():
                    if self.path.startswith(prefix):
                        return say(self)
                return self.say(404, "")

            do_GET = do_PUT = answer

            def say(self, code, text, **headers):
                content = text if isinstance(text, bytes) else text.encode()
                self.send_response(code)
                for name, value in {**headers, "Content-Length": str(len(content))}.items():
                    self.send_header(name.replace("_", "-"), value)
                # Whoever asked may be gone: a watcher that was ended, or one that lost its patience.
                with contextlib.suppress(ConnectionError):
                    self.end_headers()
                    self.wfile.write(content)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def count(self, prefix):
        return sum(path.startswith(prefix) for _, path, _ in self.asked)


def aws_answers(action, tokens=("token-1",)):
    """IMDSv2 with this instance action; the last of `tokens` is handed out, and no other is taken."""

    def token(request):
        asked_for = request.headers.get("X-aws-ec2-metadata-token-ttl-seconds")
        if request.command != "PUT" or asked_for is None or not 1 <= int(asked_for) <= 21600:
            return request.say(400, "")
        return request.say(200, tokens[-1])

    def instance_action(request):
        if request.headers.get("X-aws-ec2-metadata-token") != tokens[-1]:
            return request.say(401, "")
        return action(request)

    return {TOKEN: token, ACTION: instance_action}


def notice(seconds=90, what="terminate"):
    at = (datetime.now(UTC) + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    return lambda request: request.say(200, json.dumps({"action": what, "time": at}))


def nothing(request):
    return request.say(404, "<html>Not Found</html>")


def google(states):
    """Google's service: FALSE until `states` holds "TRUE"; a question with the ETag of now is held until it changes."""

    def answer(request):
        if request.headers.get("Metadata-Flavor") != "Google":
            return request.say(403, "")
        now = states[-1]
        if f"last_etag=etag-{now}" in request.path and "wait_for_change=true" in request.path:
            end = time.monotonic() + 30
            while states[-1] == now and time.monotonic() < end:
                time.sleep(0.02)
            now = states[-1]
        return request.say(200, now, ETag=f"etag-{now}", Metadata_Flavor="Google")

    return {PREEMPTED: answer}
