"""One HTTP request for a large file, with what a resumed and verified download must know of the answer."""

from __future__ import annotations

import contextlib
import re
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from email.message import Message
from typing import IO, Any, Protocol
from urllib.parse import urlsplit

from ovseg_ros import __version__

_LOCAL = ("localhost", "127.0.0.1", "::1")
_TRY_AGAIN = (408, 425, 429)  # and 5xx


class Refused(Exception):
    """An answer, or an address, that trying again cannot change."""


class _Readable(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Answer:
    """The answer to a request, its body still to be read.

    Attributes:
        status: 200 (the whole file), 206 (the range asked for) or 416 (there is nothing in that range).
        total: bytes of the whole file, or None where the server does not say.
        range_start: first byte of a 206, else 0.
        validator: strong ETag, else Last-Modified, else None; names this version of the file.
        stated_sha256: what the Hugging Face hub says the file's SHA-256 is, or None.
        body: the stream.
    """

    status: int
    total: int | None
    range_start: int
    validator: str | None
    stated_sha256: str | None
    body: _Readable

    def read(self, size: int) -> bytes:
        """At most `size` bytes of the body; empty at its end, which may come early.

        Raises:
            urllib.error.URLError: the connection broke.
            http.client.IncompleteRead: the body ended early, and the library saw it.
        """
        try:
            return self.body.read(size)
        except OSError as error:  # so that it is not taken for a fault of the disk
            raise urllib.error.URLError(error) from error


@contextlib.contextmanager
def request(url: str, headers: Mapping[str, str], timeout_s: float) -> Iterator[Answer]:
    """GETs `url`, over https alone (plain http on this machine only), redirects followed.

    The hub answers with a redirect to its storage; X-Linked-ETag of that redirect is the file's SHA-256.

    Args:
        url: the address.
        headers: further request headers, such as Range and If-Range.
        timeout_s: longest silence.

    Raises:
        Refused: an address that is not https, or an answer such as 403 or 404.
        urllib.error.URLError: no connection, or an answer that another attempt may change.
    """
    check_address(url)
    redirects = _Redirects()
    opener = urllib.request.build_opener(redirects)
    plain = {"User-Agent": f"ovseg_ros/{__version__}", "Accept-Encoding": "identity"}
    call = urllib.request.Request(url, headers={**plain, **headers})
    try:
        response = opener.open(call, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        if error.code != 416:
            error.close()
            if error.code in _TRY_AGAIN or error.code >= 500:
                raise
            raise Refused(f"the server answered {error.code} {error.reason}") from error
        response = error  # it has headers and a body too
    except urllib.error.URLError:
        raise
    except OSError as error:  # while waiting for the answer urllib lets them through
        raise urllib.error.URLError(error) from error
    with response:
        yield _answer(response, redirects.stated_sha256)


def check_address(url: str) -> None:
    """Raises `Refused` unless the address is https, or http on this machine."""
    parts = urlsplit(url)
    if parts.scheme != "https" and not (parts.scheme == "http" and parts.hostname in _LOCAL):
        raise Refused(f"want an https address, got {url}")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects as usual, to safe addresses alone, and keeps what the hub says on the way."""

    def __init__(self) -> None:
        self.stated_sha256: str | None = None

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Message, newurl: str
    ) -> urllib.request.Request | None:
        check_address(newurl)
        self.stated_sha256 = _linked_sha256(headers) or self.stated_sha256
        return super().redirect_request(req, fp, code, msg, headers, newurl)  # type: ignore[arg-type]


def _linked_sha256(headers: Message) -> str | None:
    match = re.fullmatch('"?([0-9a-fA-F]{64})"?', (headers.get("X-Linked-ETag") or "").strip())
    return match[1].lower() if match else None


def _answer(response: Any, stated_sha256: str | None) -> Answer:
    headers: Message = response.headers
    status = int(response.status)
    start, total = 0, None
    span = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", (headers.get("Content-Range") or "").strip())
    if status in (206, 416):
        if span is not None:
            start = int(span[1]) if span[1] else 0
            total = int(span[2]) if span[2] != "*" else None
        else:
            start = -1  # agrees with no position
    elif (headers.get("Content-Length") or "").isdigit():
        total = int(headers["Content-Length"])
    etag = (headers.get("ETag") or "").strip()
    strong = etag if etag and not etag.startswith("W/") else None
    stated = stated_sha256 or _linked_sha256(headers)
    return Answer(status, total, start, strong or headers.get("Last-Modified"), stated, response)
