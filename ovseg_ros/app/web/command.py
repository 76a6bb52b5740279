"""`ovseg web`: the method's demo page, served on this machine; nothing leaves it."""

from __future__ import annotations

import argparse
import importlib
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.app.web.gate import Gate, Hosts
from ovseg_ros.app.web.server import address, listen, serve
from ovseg_ros.app.web.uploads import MAX_UPLOAD_BYTES, Files
from ovseg_ros.errors import ConfigError, install_cure

if TYPE_CHECKING:
    from fastapi import FastAPI

    from ovseg_ros.app.web.inference import Loader
    from ovseg_ros.memory.store.store import Store

_QUIET = {
    "GRADIO_ANALYTICS_ENABLED": "False",  # no telemetry, no look whether there is a newer version
    "GRADIO_RUN_HISTORY": "False",
    "GRADIO_SSR_MODE": "False",
    "GRADIO_ANALYTICS_MAX_EVENTS": "1",  # nor does Gradio count its own requests, with pandas, after each
    "GRADIO_ANALYTICS_CACHE_FREQUENCY": "1000000000",
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
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        metavar="NAME",
        help="another name by which browsers may call the page, as behind a proxy; may be given again "
        "(default: localhost, --host, and with 0.0.0.0 the machine's own name and addresses)",
    )
    parser.add_argument("--port", type=int, default=7860, help="0 takes a free one (default: 7860)")
    parser.add_argument(
        "--device", default="auto", help="where the networks run: auto, cpu, cuda, … (default: auto)"
    )
    parser.add_argument("--weights-dir", type=Path, metavar="DIR", help="look for weights here first")
    parser.add_argument(
        "--memory",
        metavar="FILE_OR_URL",
        help="also show what a robot remembers, on a tab: the file or database of a node with the parameter "
        "remember (default: no such tab)",
    )
    parser.add_argument("--open-browser", action="store_true", help="open the page in the browser")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serves the page until Ctrl-C, then returns 0.

    Raises:
        ConfigError: Gradio is missing, the address cannot be used, the preset is unknown, or there is no such
            memory.
        WeightsError: the first preset cannot be loaded.
    """
    with (
        _ctrl_c_ends(),
        ExitStack() as ends,
        tempfile.TemporaryDirectory(prefix="ovseg_web_") as folder,
    ):
        os.environ.update(_QUIET)
        _import_gradio()
        hosts = Hosts(options.host, options.allow_host)
        with listen(options.host, options.port) as listener:
            memory = None if options.memory is None else _open_memory(options.memory, ends)
            app = make_app(
                options.preset, Path(folder), options.device, options.weights_dir, hosts=hosts, memory=memory
            )
            serve(app, listener, address(options.host, listener.getsockname()[1]), options.open_browser)
    return 0


def make_app(
    preset: str,
    folder: Path,
    device: str = "auto",
    weights_dir: Path | None = None,
    load: Loader | None = None,
    *,
    hosts: Hosts | None = None,
    files: Files | None = None,
    memory: Store | None = None,
) -> FastAPI:
    """The page as an ASGI application, the first preset loaded.

    Args:
        preset: chosen at the start; "auto" as for `load_preset`.
        folder: an existing one for examples, uploads and answers.
        device: for the networks.
        weights_dir: as for `load_preset`.
        load: makes segmenters; `load_preset` with the arguments here by default.
        hosts: by which names the page may be called; those of this machine to itself by default.
        files: the same folder with other limits.
        memory: shown on a tab of its own.

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

    files = files or Files(folder)
    os.environ["GRADIO_TEMP_DIR"] = str(files.uploads)  # read when the page is built, and with each request
    chosen = resolve_preset(preset, device, weights_dir)
    preset = chosen.preset
    print(f"the page begins with {preset}; {chosen.reason}", file=sys.stderr, flush=True)
    choices, missing = preset_choices(preset, weights_dir)
    inference = Inference(load or _loader(device, weights_dir))
    inference.preload(preset)
    examples = write_examples(files.examples, [choice.name for choice in choices])
    page = build_page(inference, choices, missing=missing, examples=examples, memory=memory)
    # Gradio checks paths in requests only after launch(), which a mounted page never calls: without this, a
    # request that names any file of this machine gets a copy of it.
    page.has_launched = True
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None, lifespan=files.swept)
    app.add_middleware(Gate, hosts=hosts or Hosts(), files=files)
    files.add_routes(app)
    gr.mount_gradio_app(
        app,
        page,
        path="/",
        theme=_theme(),
        css=STYLE,
        footer_links=[],
        run_history=False,
        show_error=False,
        max_file_size=MAX_UPLOAD_BYTES,
        ssr_mode=False,
        mcp_server=False,
        pwa=False,
        enable_monitoring=False,
        allowed_paths=[str(files.examples)],
    )
    files.keep_all()
    return app


def _open_memory(address: str, ends: ExitStack) -> Store:
    """The memory to show, and matplotlib to draw it; closed at the end."""
    from ovseg_ros.app.memory.selection import open_memory
    from ovseg_ros.app.memory.top_view import check_matplotlib

    check_matplotlib()
    return ends.enter_context(open_memory(address))


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
