"""What a visitor's request may hold and how long it may take, and what an answer tells of this machine."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ovseg_ros.app.web.uploads import MAX_UPLOAD_BYTES, PUBLIC, Files
from ovseg_ros.errors import InvalidInputError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

MAX_JSON_BYTES = 256 * 1024
IDLE_S = 15.0
"""Without a byte of a request's body for so long, its sender is not waited for."""
JSON_S = 20.0
"""Whole bodies of JSON are here within this time."""
UPLOAD_S = 600.0
LINGER_S = 1.0
LINGER_BYTES = 4 * 1024 * 1024
"""What is still under way of a refused request is read and thrown away within these: closing a connection
with bytes unread resets it, and its sender would see that instead of the answer (as nginx's lingering_close).
"""

MAX_VALUES = 32
MAX_TEXT = 20_000
"""Characters of one text field; what the fields themselves allow is less."""
MAX_NUMBER = 1e9
MAX_SIDE = 100_000
CONTENT_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; base-uri 'self'; form-action 'self'"
)
"""Tells the browser to ask no other host for anything, whatever Gradio's pages may name."""

_HEADERS = {
    "content-security-policy": CONTENT_POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "referrer-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}", re.ASCII)


class RefusedError(Exception):
    """A request that gets this status and sentence, and nothing else."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def checked_event(body: bytes, real: Callable[[object], Path]) -> bytes:
    """The request of an event with nothing in it but what the page itself sends.

    Args:
        body: JSON as it came.
        real: turns the public name of a file into its path, or raises `InvalidInputError`.

    Returns:
        JSON for Gradio: values, number of the function, session; files as paths of this machine.

    Raises:
        InvalidInputError: anything that the page would not send.
    """
    given = _read(body)
    values = given.get("data")
    if not isinstance(values, list) or len(values) > MAX_VALUES:
        raise InvalidInputError(f"expected data, a list of at most {MAX_VALUES} values")
    event: dict[str, Any] = {"data": [_value(value, real) for value in values]}
    for key in ("fn_index", "trigger_id"):
        number = given.get(key)
        if number is not None and (type(number) is not int or not 0 <= number < 10_000):
            raise InvalidInputError(f"expected {key} as a small whole number")
        event[key] = number
    event["session_hash"] = _name(given.get("session_hash"))
    if given.get("event_data") is not None:
        event["event_data"] = _click(given["event_data"])
    return json.dumps(event).encode()


def checked_cancel(body: bytes) -> bytes:
    """The same for a request that takes an event back."""
    given = _read(body)
    number = given.get("fn_index")
    if type(number) is not int:
        raise InvalidInputError("expected fn_index as a small whole number")
    names = {key: _name(given.get(key)) for key in ("session_hash", "event_id")}
    return json.dumps({"fn_index": number, **names}).encode()


def _read(body: bytes) -> dict[str, Any]:
    try:
        given = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("expected JSON") from error
    if not isinstance(given, dict):
        raise InvalidInputError("expected a JSON object")
    return given


def _name(value: object) -> str:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        raise InvalidInputError("expected a name of at most 64 letters and digits")
    return value


def _click(given: object) -> dict[str, Any] | None:
    """Where a picture was clicked at, column and row; None of other events, whose data is not used."""
    index = given.get("index") if isinstance(given, dict) else None
    if not isinstance(index, list) or len(index) != 2:
        return None
    if any(type(number) is not int or not 0 <= number <= MAX_SIDE for number in index):
        raise InvalidInputError(f"expected a click as two whole numbers from 0 to {MAX_SIDE}")
    return {"index": index, "value": None}


def _value(value: object, real: Callable[[object], Path]) -> Any:
    """Text, a number, yes or no, nothing, or a file that was uploaded; never an address or a path of ours."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if not abs(value) <= MAX_NUMBER:  # NaN is not, nor a whole number too long for a float
            raise InvalidInputError(f"expected numbers within {MAX_NUMBER:g}")
        return value
    if isinstance(value, str):
        if len(value) > MAX_TEXT:
            raise InvalidInputError(f"expected at most {MAX_TEXT} characters in a field")
        return value
    if isinstance(value, dict):
        path = real(value.get("path"))
        return {"path": str(path), "orig_name": path.name, "meta": {"_type": "gradio.FileData"}}
    raise InvalidInputError(f"expected text, numbers and uploaded files, got {type(value).__name__}")


def hidden(text: bytes, folder: Path) -> bytes:
    """An answer with the public name in place of the page's folder, however the folder is spelled in it."""
    raw = str(folder)
    for spelled in dict.fromkeys((raw, quote(raw), json.dumps(raw)[1:-1], json.dumps(quote(raw))[1:-1])):
        text = text.replace(spelled.encode(), PUBLIC.encode())
    return text


class Incoming:
    """The messages of a request as the server hands them on, and whether more of its body is to come."""

    def __init__(self, receive: Receive) -> None:
        self._receive, self._over = receive, False

    async def __call__(self) -> Message:
        """The next message, as ASGI has it."""
        message = await self._receive()
        self._over = not message.get("more_body", False)
        return message

    async def discard(self) -> None:
        """Reads the rest of the body and throws it away, within limits of size and time."""

        async def read() -> None:
            left = LINGER_BYTES
            while not self._over and left > 0:
                left -= len((await self()).get("body", b""))

        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(read(), LINGER_S)


class Body:
    """A request's body, read within limits of size and time. Only a POST has one."""

    def __init__(self, method: str, headers: dict[bytes, bytes], receive: Receive, idle_s: float) -> None:
        """`idle_s` as the module's constant says."""
        self._receive, self._idle_s = receive, idle_s
        self._over = method != "POST"
        declared = headers.get(b"content-length", b"0")
        if self._over and (declared != b"0" or b"transfer-encoding" in headers):
            raise RefusedError(400, "expected no body in a request of this kind")
        self._declared = int(declared) if declared.isdigit() and len(declared) < 20 else 10**20
        self._handed: list[Message] = []
        self._read, self._start = 0, asyncio.get_running_loop().time()
        self.max_bytes, self.total_s = MAX_UPLOAD_BYTES + 65536, UPLOAD_S

    async def receive(self) -> Message:
        """The next message, as ASGI has it."""
        if self._handed:
            return self._handed.pop()
        if self._over:  # what comes now is the end of the connection, whenever it is
            return await self._receive()
        left = self.total_s - (asyncio.get_running_loop().time() - self._start)
        try:
            if self._declared > self.max_bytes:
                raise RefusedError(413, f"expected at most {self.max_bytes:,} bytes")
            message = await asyncio.wait_for(self._receive(), max(min(self._idle_s, left), 0.0))
        except asyncio.TimeoutError as error:
            raise RefusedError(408, "the request took too long to come") from error
        self._read += len(message.get("body", b""))
        self._over = not message.get("more_body", False)
        if self._read > self.max_bytes:
            raise RefusedError(413, f"expected at most {self.max_bytes:,} bytes")
        return message

    async def whole_json(self) -> bytes:
        """All of it, of a request that is no upload."""
        self.max_bytes, self.total_s = MAX_JSON_BYTES, JSON_S
        parts = []
        while not self._over:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise RefusedError(400, "the request broke off")
            parts.append(message.get("body", b""))
        return b"".join(parts)

    def replace(self, body: bytes) -> None:
        """Hands on this body instead of the one that was read."""
        self._handed = [{"type": "http.request", "body": body, "more_body": False}]


class Answered:
    """What goes back: with our headers, and without the name of the page's folder."""

    def __init__(self, scope: MutableMapping[str, Any], send: Send, files: Files) -> None:
        self._send, self._folder, self._path = send, files.folder, scope.get("path", "")
        self._head: Message | None = None  # held back until its body is known
        self._held: list[bytes] | None = None
        self._stream = self._started = False

    async def send(self, message: Message) -> None:
        """Passes a message on, as ASGI has it."""
        if message["type"] == "http.response.start":
            kind = dict(message["headers"]).get(b"content-type", b"")
            own = {key.lower() for key, _ in message["headers"]}
            more = [(k.encode(), v.encode()) for k, v in _HEADERS.items() if k.encode() not in own]
            if not self._path.startswith(("/assets", "/static")):
                more.append((b"cache-control", b"no-store"))
            cors = [(k, v) for k, v in message["headers"] if not k.lower().startswith(b"access-control-")]
            message = {**message, "headers": [*cors, *more]}
            self._stream = kind.startswith(b"text/event-stream")
            if kind.startswith((b"text/html", b"application/json", b"text/plain")):
                self._head, self._held = message, []
                return
        elif message["type"] == "http.response.body" and self._held is not None:
            self._held.append(message.get("body", b""))
            if message.get("more_body", False):
                return
            await self._release()
            return
        elif message["type"] == "http.response.body" and self._stream:
            message = {**message, "body": hidden(message.get("body", b""), self._folder)}
        self._started = True
        await self._send(message)

    async def _release(self, more: bool = False) -> None:
        assert self._head is not None
        assert self._held is not None
        body = hidden(b"".join(self._held), self._folder)
        headers = [(k, v) for k, v in self._head["headers"] if k.lower() != b"content-length"]
        headers.append((b"content-length", str(len(body)).encode()))
        self._started, self._held = True, None
        await self._send({**self._head, "headers": headers})
        await self._send({"type": "http.response.body", "body": body, "more_body": more})

    async def refuse(self, status: int, sentence: str, incoming: Incoming) -> None:
        """Answers with a sentence at once, and ends the connection when the rest of the request is here."""
        if self._started:
            return
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")],
            }
        )
        self._held = [sentence.encode()]
        await self._release(more=True)
        await incoming.discard()
        await self._send({"type": "http.response.body", "body": b""})
