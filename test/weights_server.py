"""A web server for the download tests: ranges, redirects as the hub sends them, and every kind of trouble."""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server does; tests change it between and during requests.

    `failures` are taken first, one a request: a status code, or "cut:N" (N bytes, then the line goes dead),
    "stall" (headers, then silence), "reset" (closes without an answer).
    """

    content: bytes = b""
    etag: str | None = '"v1"'
    ranges: bool = True
    honour_if_range: bool = True
    range_shift: int = 0  # answers with a range that begins elsewhere than asked for
    length: bool = True
    redirect: bool = False
    linked_sha256: str | None = None
    failures: list = field(default_factory=list)
    stall_s: float = 0.0
    delay_s: float = 0.0
    requests: list = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def do_GET(self):
        state: Behaviour = self.server.behaviour
        state.requests.append((self.path, dict(self.headers)))
        if state.redirect and self.path == "/hub":
            self.send_response(302)
            self.send_header("Location", f"http://127.0.0.1:{self.server.server_port}/storage")
            if state.linked_sha256:
                self.send_header("X-Linked-ETag", f'"{state.linked_sha256}"')
            self.end_headers()
            return
        failure = state.failures.pop(0) if state.failures else None
        if failure == "reset":
            return
        if isinstance(failure, int):
            self.send_error(failure)
            return
        time.sleep(state.delay_s)
        start = self._start(state)
        if start is not None and start >= len(state.content):
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(state.content)}")
            self.end_headers()
            return
        self._send(state, start, failure)

    def _start(self, state):
        asked = self.headers.get("Range")
        if not asked or not state.ranges:
            return None
        if state.honour_if_range and self.headers.get("If-Range") not in (None, state.etag):
            return None
        return int(asked.removeprefix("bytes=").rstrip("-")) + state.range_shift

    def _send(self, state, start, failure):
        body = state.content[start or 0 :]
        self.send_response(200 if start is None else 206)
        if start is not None:
            last = len(state.content) - 1
            self.send_header("Content-Range", f"bytes {start}-{last}/{len(state.content)}")
        if state.length:
            self.send_header("Content-Length", str(len(body)))
        if state.etag:
            self.send_header("ETag", state.etag)
        self.end_headers()
        if failure == "stall":
            time.sleep(state.stall_s)
            return
        if failure is not None:
            body = body[: int(failure.removeprefix("cut:"))]
        with suppress(ConnectionError):
            self.wfile.write(body)


@contextmanager
def serve(**behaviour):
    """Yields (base URL, Behaviour)."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.behaviour = Behaviour(**behaviour)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", server.behaviour
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
