"""What stands before Gradio: who is answered, on which addresses, for how long, and in which words.

Gradio serves much more than this page needs, and checks less. So only what the page itself asks for comes
through, to names of this machine, from pages of ours; every request is read here, within limits, before
Gradio sees it.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from ovseg_ros.app.web.bodies import (
    IDLE_S,
    Answered,
    Body,
    Incoming,
    Receive,
    RefusedError,
    Send,
    checked_cancel,
    checked_event,
)
from ovseg_ros.app.web.uploads import Files
from ovseg_ros.errors import ConfigError, InvalidInputError

App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_PART = r"(?!\.)[\w.@+~-]+"
_NAME = r"[\w-]{1,64}"
_GET = {  # address -> parameters that are handed on
    r"/": {"__theme"},
    r"/config": {"page"},
    r"/theme\.css|/gradio_api/theme\.css|/favicon\.ico|/manifest\.json": {"v"},
    rf"/(assets|static)(/{_PART})+": set(),
    r"/gradio_api/(app_id|startup-events)/?": set(),
    rf"/gradio_api/heartbeat/{_NAME}": set(),
    r"/gradio_api/queue/data": {"session_hash"},
    r"/gradio_api/upload_progress": {"upload_id"},
    r"/gradio_api/file=/.+": set(),
}
_POST = {
    r"/gradio_api/upload": {"upload_id"},
    rf"/gradio_api/run/{_NAME}": set(),
    r"/gradio_api/queue/join": set(),
    r"/gradio_api/(cancel|reset)": set(),
}
ROUTES = {
    "GET": [(re.compile(path), query) for path, query in _GET.items()],
    "HEAD": [(re.compile(path), query) for path, query in _GET.items()],
    "POST": [(re.compile(path), query) for path, query in _POST.items()],
}
"""All that is answered. What else Gradio offers (API pages, proxies …) is not."""

_DROPPED = re.compile(rb"x-forwarded-.*|forwarded|x-gradio-.*|x-hf-.*|cookie|authorization")
"""Headers that would tell Gradio which address to send its visitors to, or that mean nothing here."""
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})


class Hosts:
    """The names by which this page may be called.

    Under any other name a foreign page would reach it from a visitor's browser (DNS rebinding).
    """

    def __init__(self, host: str = "127.0.0.1", more: Iterable[str] = ()) -> None:
        """`host` is where the page listens, `more` are names that a person allows besides.

        Raises:
            ConfigError: one of `more` is no name of a machine.
        """
        allowed = [_bare(name) for name in more]
        if "" in allowed:
            raise ConfigError("expected --allow-host as the name of a machine, for example robot.example.org")
        self._names = {*_LOCAL_NAMES, *allowed}
        self._everywhere = host in ("", "0.0.0.0", "::")
        if self._everywhere:
            own = socket.gethostname().lower()
            self._names |= {own, own.split(".")[0], f"{own.split('.')[0]}.local"}
        else:
            self._names.add(_bare(host))

    def allows(self, header: str, arrived_at: str) -> bool:
        """Whether a Host header names this page; `arrived_at` is our address that was connected to."""
        name = _bare(header)
        if not name or name in self._names:
            return bool(name)
        # An address that is written out is no foreign name, and the connection shows which one is ours.
        return self._everywhere and name == _bare(arrived_at)


def _bare(host: str) -> str:
    """Host without port and brackets, in small letters; "" where it is none."""
    host = host.strip()
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
        return str(getattr(address, "ipv4_mapped", None) or address)
    except ValueError:
        pass
    try:
        name = (urlsplit(f"//{host}").hostname or "").rstrip(".").lower()
    except ValueError:
        return ""
    return name if re.fullmatch(r"[\w.:\[\]-]+", host, re.ASCII) else ""


def _netloc(origin: bytes) -> str:
    try:
        return urlsplit(origin.decode("latin-1")).netloc.lower()
    except ValueError:
        return ""


class Gate:
    """The ASGI application around the page's."""

    def __init__(self, app: App, hosts: Hosts, files: Files, idle_s: float = IDLE_S) -> None:
        """`idle_s` as the module's constant says."""
        self._app, self._hosts, self._files, self._idle_s = app, hosts, files, idle_s

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Answers one request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":  # the page uses no web sockets
            await send({"type": "websocket.close", "code": 1008})
            return
        answer, incoming = Answered(scope, send, self._files), Incoming(receive)
        try:
            headers = self._check_sender(scope)
            scope = _trimmed(scope)
            body = Body(scope["method"], headers, incoming, self._idle_s)
            if scope["method"] == "POST" and scope["path"] != "/gradio_api/upload":
                checked = self._checked(scope["path"], await body.whole_json())
                body.replace(checked)
                length = [(b"content-length", str(len(checked)).encode())]
                sent = (b"content-length", b"transfer-encoding")
                scope["headers"] = length + [pair for pair in scope["headers"] if pair[0] not in sent]
            await self._app(scope, body.receive, answer.send)
        except RefusedError as refused:
            await answer.refuse(refused.status, str(refused), incoming)
        except InvalidInputError as error:
            await answer.refuse(400, str(error), incoming)

    def _check_sender(self, scope: MutableMapping[str, Any]) -> dict[bytes, bytes]:
        """The headers of a request that may be answered."""
        headers = dict(scope["headers"])
        hosts = [value.decode("latin-1") for key, value in scope["headers"] if key == b"host"]
        arrived_at = (scope.get("server") or ("",))[0]
        if len(hosts) != 1 or not self._hosts.allows(hosts[0], arrived_at):
            raise RefusedError(
                421,
                "this page answers to names of this machine alone; others are allowed with --allow-host NAME",
            )
        origin = headers.get(b"origin")
        site = headers.get(b"sec-fetch-site", b"none")
        visit = (
            scope["method"] == "GET"
            and scope["path"] == "/"
            and headers.get(b"sec-fetch-mode") == b"navigate"
        )
        if (origin is not None and _netloc(origin) != hosts[0].strip().lower()) or (
            site not in (b"none", b"same-origin") and not visit
        ):
            raise RefusedError(403, "this page takes requests from itself alone, not from other pages")
        return headers

    def _checked(self, path: str, body: bytes) -> bytes:
        if path.endswith("/reset"):
            return b'{"event_id": ""}'  # Gradio looks at nothing else of it
        return checked_cancel(body) if path.endswith("/cancel") else checked_event(body, self._files.real)


def _trimmed(scope: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The request without what Gradio would take from it and the page does not send."""
    method, path = scope["method"], scope["path"]
    wanted = next((query for route, query in ROUTES.get(method, ()) if route.fullmatch(path)), None)
    if wanted is None:
        raise RefusedError(404, "there is nothing here")
    query = parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
    kept = urlencode([(key, value) for key, value in query if key in wanted and len(value) <= 128])
    packed = not path.startswith(("/assets", "/static"))  # so that paths in it can be seen and hidden
    headers = [
        (key, value)
        for key, value in scope["headers"]
        if not (_DROPPED.fullmatch(key) or (packed and key == b"accept-encoding"))
    ]
    return {**scope, "query_string": kept.encode(), "headers": headers}
