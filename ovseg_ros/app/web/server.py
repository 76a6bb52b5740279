"""The server under the page: its socket, and how many connections may wait for how long."""

from __future__ import annotations

import asyncio
import socket
import threading
import webbrowser
from collections import Counter
from typing import TYPE_CHECKING, Any

from ovseg_ros.errors import ConfigError

if TYPE_CHECKING:
    import uvicorn

HEADERS_S = 10.0
"""A connection that has not sent a whole request's head by then is closed."""
MAX_CONNECTIONS = 256
MAX_CONNECTIONS_EACH = 64
"""From one address; each open page holds two or three."""


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens; the port is taken before the networks are loaded.

    Raises:
        ConfigError: no such address here, or the port is in use.
    """
    if not 0 <= port <= 65535:
        raise ConfigError(f"expected --port in 0 to 65535, got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error}; is it running already? --port 0 takes a free one"
        ) from error


def address(host: str, port: int) -> str:
    """What a browser is given."""
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def make_server(
    app: Any,
    url: str = "",
    open_browser: bool = False,
    *,
    headers_s: float = HEADERS_S,
    max_connections: int = MAX_CONNECTIONS,
    max_each: int = MAX_CONNECTIONS_EACH,
) -> uvicorn.Server:
    """The server of an application, not yet started; `url` is said once it can be had, limits as above."""
    import uvicorn
    from uvicorn.protocols.http.h11_impl import H11Protocol

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started and url:
                print(f"the page is at {url} (Ctrl-C ends it)", flush=True)
                if open_browser:
                    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    class Connection(H11Protocol):  # uvicorn itself waits for a first request for ever
        _deadline: asyncio.TimerHandle | None = None

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            each = Counter(other.client[0] for other in self.connections if other.client)  # type: ignore[union-attr]
            mine = each[self.client[0]] if self.client else 0
            if len(self.connections) > max_connections or mine > max_each:
                transport.abort()
                return
            self._deadline = self.loop.call_later(headers_s, self._late)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            super().data_received(data)
            if self._deadline is None and self._waits_for_head():
                self._deadline = self.loop.call_later(headers_s, self._late)  # of the next request
            elif self._deadline is not None and self.cycle is not before:
                self._deadline.cancel()
                self._deadline = None

        def _waits_for_head(self) -> bool:
            return self.cycle is None or self.cycle.response_complete

        def _late(self) -> None:
            self._deadline = None
            if self._waits_for_head():
                self.transport.abort()

    # Open pages hold a connection: they are not waited for at the end, and "critical" says nothing of that.
    return Server(
        uvicorn.Config(
            app,
            http=Connection,
            ws="none",
            log_config=None,  # uvicorn's own closes the handlers of everybody else in the process
            log_level="critical",
            timeout_graceful_shutdown=1,
            lifespan="on",
            server_header=False,
        )
    )


def serve(app: Any, listener: socket.socket, url: str, open_browser: bool) -> None:
    """Serves until a signal comes."""
    make_server(app, url, open_browser).run(sockets=[listener])
