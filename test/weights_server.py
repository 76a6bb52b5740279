"""A server of weights files: ranges, redirects as the hub sends them, and every kind of trouble."""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server does; tests change it between and during requests.

    `failures` are taken first, one a request: a status code, or "cut:N" (N bytes, then the line goes dead),
    "stall" (headers, then silence), "reset" (closes without an answer). No answer has an ETag.
    """

    content: bytes = b""
    cut_every: int | None = None  # bytes after which each answer ends
    ranges: bool = True
    range_shift: int = 0  # answers with a range that begins elsewhere than asked for
    storage: str | None = None  # the host that any path but /file is redirected to, as the hub does
    linked_sha256: str | None = None  # what the redirect says of it
    retry_after: int | None = None
    failures: list = field(default_factory=list)
    delay_s: float = 0.0
    requests: list = field(default_factory=list)
    url: str = ""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.0"

    def log_message(self, *_):
        pass

    def do_GET(self):
        state: Behaviour = self.server.behaviour
        state.requests.append((self.path, dict(self.headers)))
        if state.storage and self.path != "/file":
            self.send_response(302)
            self.send_header("Location", f"http://{state.storage}:{self.server.server_port}/file")
            if state.linked_sha256:
                self.send_header("X-Linked-ETag", f'"{state.linked_sha256}"')
            self.end_headers()
            return
        failure = state.failures.pop(0) if state.failures else None
        if failure == "reset":
            return
        if isinstance(failure, int):
            self.send_response(failure)
            if state.retry_after is not None:
                self.send_header("Retry-After", str(state.retry_after))
            self.end_headers()
            return
        threading.Event().wait(state.delay_s)
        self._send(state, failure)

    def _send(self, state, failure):
        asked, total = self.headers.get("Range") if state.ranges else None, len(state.content)
        start = int(asked.removeprefix("bytes=").rstrip("-")) + state.range_shift if asked else 0
        if start and start >= total:
            self.send_response(416)
            self.end_headers()
            return
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        if failure == "stall":
            threading.Event().wait(3)
            return
        length = int(failure.removeprefix("cut:")) if failure else state.cut_every or total
        with suppress(ConnectionError):
            self.wfile.write(state.content[start : start + length])


@contextmanager
def serve(**behaviour):
    """Yields the Behaviour, its `url` set."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    server.daemon_threads = True
    server.behaviour = Behaviour(url=f"http://127.0.0.1:{server.server_port}", **behaviour)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield server.behaviour
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
