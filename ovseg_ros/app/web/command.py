"""`ovseg web`: the method's demo page, served on this machine; nothing leaves it."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import socket
import sys
import tempfile
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.errors import ConfigError, install_cure

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ovseg_ros.app.web.inference import Loader

MAX_UPLOAD = "100mb"

CONTENT_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)
"""Tells the browser to ask no other host for anything, whatever Gradio's pages may name."""

_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # no telemetry, no look whether there is a newer version
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
}


def add_parser(commands: Any) -> None:
    """Adds `web` to the `ovseg` command's subparsers."""
    parser = commands.add_parser(
        "web",
        help="the demo page: an image and class names in, a segmentation map out",
        description="Serves the demo page on this machine until Ctrl-C. Nothing is sent anywhere else.",
    )
    parser.add_argument(
        "--preset",
        default="auto",
        help="chosen at the start; a name or a .yaml file (default: auto, the best that is here and that the "
        "device can carry)",
    )
    parser.add_argument(
        "--host",
        default="127.0.0.1",
        help="who may connect: this machine alone, or with 0.0.0.0 the whole network (default: 127.0.0.1)",
    )
    parser.add_argument("--port", type=int, default=7860, help="0 takes a free one (default: 7860)")
    parser.add_argument(
        "--device", default="auto", help="where the networks run: auto, cpu, cuda, … (default: auto)"
    )
    parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
    parser.add_argument("--open-browser", action="store_true", help="open the page in the browser")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C, then returns 0.

    Raises:
        ConfigError: Gradio is missing, the address cannot be used, or the preset is unknown.
        WeightsError: the first preset cannot be loaded.
    """
    with _ctrl_c_ends(), tempfile.TemporaryDirectory(prefix="ovseg_web_") as folder:
        os.environ.update(_QUIET, GRADIO_TEMP_DIR=str(Path(folder, "uploads")))
        _import_gradio()
        with _listen(options.host, options.port) as listener:
            app = make_app(options.preset, Path(folder), options.device, options.weights_dir)
            _serve(app, listener, _url(options.host, listener.getsockname()[1]), options.open_browser)
    return 0


def make_app(
    preset: str,
    folder: Path,
    device: str = "auto",
    weights_dir: Path | None = None,
    load: Loader | None = None,
) -> FastAPI:
    """The page as an ASGI application, the first preset loaded.

    Args:
        preset: chosen at the start; "auto" as for `load_preset`.
        folder: an existing one for the examples' files.
        device: for the networks.
        weights_dir: as for `load_preset`.
        load: makes segmenters; `load_preset` with the arguments here by default.

    Raises:
        ConfigError, WeightsError: as for `load_preset`.
    """
    import gradio as gr
    from fastapi import FastAPI

    from ovseg_ros.app.web.choices import preset_choices, write_examples
    from ovseg_ros.app.web.html import STYLE
    from ovseg_ros.app.web.inference import Inference
    from ovseg_ros.app.web.page import build_page
    from ovseg_ros.models.presets import resolve_preset

    chosen = resolve_preset(preset, device, weights_dir)
    preset = chosen.preset
    print(f"the page begins with {preset}; {chosen.reason}", file=sys.stderr, flush=True)
    choices, missing = preset_choices(preset, weights_dir)
    inference = Inference(load or _loader(device, weights_dir))
    inference.preload(preset)
    examples = write_examples(folder / "examples", [choice.name for choice in choices])
    page = build_page(inference, choices, missing=missing, examples=examples)
    # Gradio checks paths in requests only after launch(), which a mounted page never calls: without this, a
    # request that names any file of this machine gets a copy of it.
    page.has_launched = True
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=_theme(),
        css=STYLE,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MAX_UPLOAD,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        allowed_paths=[str(folder / "examples")],
    )

    @app.middleware("http")
    async def add_policy(request: Any, call_next: Callable[[Any], Any]) -> Any:
        response = await call_next(request)
        response.headers["Content-Security-Policy"] = CONTENT_POLICY
        return response

    return app


def _theme() -> Any:
    """Gradio's own with fonts that are on the machine, and small print dark enough to read."""
    import gradio as gr

    theme = gr.themes.Default(
        primary_hue="blue",
        font=["system-ui", "Segoe UI", "Roboto", "DejaVu Sans", "sans-serif"],
        font_mono=["ui-monospace", "DejaVu Sans Mono", "monospace"],
    )
    return theme.set(body_text_color_subdued="*neutral_600", body_text_color_subdued_dark="*neutral_400")


def _loader(device: str, weights_dir: Path | None) -> Loader:
    from ovseg_ros.models.presets import load_preset

    def load(preset: str, proposals_from: str | None) -> Any:
        print(f"loading {preset}", file=sys.stderr, flush=True)
        segmenter = load_preset(preset, device=device, weights_dir=weights_dir, proposals_from=proposals_from)
        segmenter.warm_up()
        return segmenter

    return load


def _import_gradio() -> None:
    try:
        for module in ("gradio", "fastapi", "uvicorn"):
            importlib.import_module(module)
    except ImportError as error:
        raise ConfigError(f"the page needs Gradio ({error}); {install_cure('web')}") from error


def _listen(host: str, port: int) -> socket.socket:
    """A socket that listens; the port is taken before the networks are loaded."""
    if not 0 <= port <= 65535:
        raise ConfigError(f"want --port in 0 to 65535, got {port}")
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {host}, port {port}: {error}; is it running already? --port 0 takes a free one"
        ) from error


def _url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"


def _serve(app: FastAPI, listener: socket.socket, url: str, open_browser: bool) -> None:
    import uvicorn

    class Server(uvicorn.Server):
        """Says where the page is once it can be had."""

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            if self.started:
                print(f"the page is at {url} (Ctrl-C ends it)", flush=True)
                if open_browser:
                    threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()

    # Open pages hold a connection: they are not waited for at the end, and "critical" says nothing of that.
    config = uvicorn.Config(app, log_level="critical", timeout_graceful_shutdown=1, lifespan="on")
    Server(config).run(sockets=[listener])


@contextmanager
def _ctrl_c_ends() -> Iterator[None]:
    """Ctrl-C, or SIGTERM as `kill` and service managers send it, ends the block and is no error."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        print("the page is closed", file=sys.stderr)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
