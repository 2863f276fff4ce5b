"""An HTTP proxy on loopback that forwards to a server (S3, MLflow) and spoils what it is told to.

What comes in: the address of a server, and a schedule of faults. What goes out: an address that answers as the server
does except where the schedule says otherwise, and the list of the requests that came.

Faults: `500`, `503` (SlowDown), `403`; `reset`: the connection is torn down and the server never asked; `lost`: the
server has done what was asked, its reply is torn down; `cut`: half a body although Content-Length says more (of an
upload: half of it arrives, then the connection is torn down); `stall`: half a body, then nothing for ten seconds;
`corrupt`: one byte differs (of an upload: answered as S3 answers, BadDigest, if a checksum came with it).
"""

import base64
import http.client
import itertools
import random
import socket
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("500", "503", "reset", "lost", "cut", "stall")  # those that a store gets over; the others are called by name
STALL_SECONDS = 10.0
REPLIES = {
    "400": (400, "BadDigest", "The checksum you specified did not match what was received."),
    "403": (403, "AccessDenied", "Access Denied"),
    "500": (500, "InternalError", "We encountered an internal error. Please try again."),
    "503": (503, "SlowDown", "Please reduce your request rate."),
}


@dataclass(frozen=True)
class Request:
    """A request that came to the proxy: `GET`, `/bucket/key?query`, its Range header, and the fault it met."""

    method: str
    path: str
    range: str
    fault: str | None


class Faulty:
    """What the proxy does next (`plan`, `always`, `randomly`, `well`) and what it was asked (`requests`)."""

    def __init__(self, upstream: str):
        self.upstream = urlsplit(upstream).netloc
        self.requests: list[Request] = []
        self.delay = 0.0  # seconds before each request is looked at
        self.released = threading.Event()  # ends every stall
        self._lock = threading.Lock()
        self._schedule: Iterator[str | None] = itertools.repeat(None)
        self._method = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"faulty": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def plan(self, faults: Iterable[str | None], method: str = "") -> None:
        """The next requests (of this method) meet one fault each, None being none; those after the last meet none."""
        with self._lock:
            self._schedule, self._method = itertools.chain(faults, itertools.repeat(None)), method

    def always(self, fault: str, method: str = "") -> None:
        """Every request (of this method) from now on meets the fault."""
        self.plan(itertools.repeat(fault), method)

    def randomly(self, share: float, seed: int = 0, faults: tuple[str, ...] = FAULTS, method: str = "") -> None:
        """This share of the requests (of this method) meets a fault drawn from these."""
        draw = random.Random(seed)
        self.plan((draw.choice(faults) if draw.random() < share else None for _ in itertools.count()), method)

    def reset(self) -> None:
        """As it was at first: no faults, no requests, nobody who waits."""
        self.well()
        self.delay = 0.0
        self.released.set()
        self.released = threading.Event()
        self.requests = []

    def well(self) -> None:
        """No more faults."""
        self.plan([])

    def count(self, method: str = "", path: str = "") -> int:
        """How many requests came of this method, with this in their path."""
        return sum(request.method.startswith(method) and path in request.path for request in self.requests)

    def stop(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()

    def meets(self, method: str, path: str, range_: str) -> str | None:
        """Note a request; the fault that it meets."""
        with self._lock:
            fault = next(self._schedule, None) if method.startswith(self._method) else None
            self.requests.append(Request(method, path, range_, fault))
        return fault


class _Handler(BaseHTTPRequestHandler):
    faulty: Faulty
    protocol_version = "HTTP/1.1"

    def _any(self) -> None:
        time.sleep(self.faulty.delay)
        fault = self.faulty.meets(self.command, self.path, self.headers.get("Range", ""))
        body = self._body()
        uploading = bool(body) and self.command == "PUT"
        if fault == "reset":
            return self._tear()
        if fault in REPLIES:
            return self._refuse(fault)
        if fault == "corrupt" and uploading:
            spoilt = _flip(body)
            checksum = self.headers.get("x-amz-checksum-crc32")
            if checksum not in (None, base64.b64encode(zlib.crc32(spoilt).to_bytes(4, "big")).decode()):
                return self._refuse("400")
            body = spoilt
        if fault == "cut" and uploading:
            self._half(body)
            return self._tear()
        reply, content = self._forward(body)
        if fault == "lost" or (fault in ("cut", "stall") and not content):
            return self._tear()
        self.send_response_only(reply.status, reply.reason)
        for name, value in reply.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        length = reply.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
        if length is not None:
            self.send_header("Content-Length", length)
        self.end_headers()
        if fault in ("cut", "stall"):
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            if fault == "stall":
                self.faulty.released.wait(STALL_SECONDS)
            self.close_connection = True
        else:
            self.wfile.write(_flip(content) if fault == "corrupt" and content else content)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _any

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        chunks = []
        while length := int(self.rfile.readline().partition(b";")[0], 16):
            chunks.append(self.rfile.read(length))
            self.rfile.readline()
        while self.rfile.readline().strip():
            pass
        del self.headers["Transfer-Encoding"]
        self.headers["Content-Length"] = str(sum(map(len, chunks)))
        return b"".join(chunks)

    def _forward(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        upstream = http.client.HTTPConnection(self.faulty.upstream)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect")}
        try:
            upstream.request(self.command, self.path, body=body or None, headers=headers)
            reply = upstream.getresponse()
            return reply, reply.read()
        finally:
            upstream.close()

    def _half(self, body: bytes) -> None:
        """Let half a body reach the server, and no more."""
        upstream = http.client.HTTPConnection(self.faulty.upstream)
        upstream.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):
                upstream.putheader(name, value)
        upstream.endheaders(body[: len(body) // 2])
        upstream.close()

    def _refuse(self, fault: str) -> None:
        status, code, text = REPLIES[fault]
        content = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{text}</Message></Error>".encode()
        self.send_response_only(status)
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _tear(self) -> None:
        """Close with a reset, not with an orderly end."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.shutdown(socket.SHUT_RD)
        self.close_connection = True
        self.wfile.close()
        self.rfile.close()
        self.connection.close()

    def handle(self) -> None:
        try:
            super().handle()
        except (OSError, ValueError):  # the client has gone away, or was sent away
            self.close_connection = True

    def log_message(self, *_: object) -> None:
        pass


def _flip(body: bytes) -> bytes:
    middle = len(body) // 2
    return body[:middle] + bytes([body[middle] ^ 1]) + body[middle + 1 :]
