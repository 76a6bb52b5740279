"""A network run by ONNX Runtime: on the CPU, by CUDA, or by TensorRT, through its execution providers.

On a graphics card what the documentation of ONNX Runtime says was followed, and nothing was run:
https://onnxruntime.ai/docs/execution-providers/TensorRT-ExecutionProvider.html, CUDA-ExecutionProvider.html.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import warnings
from typing import Any

import torch

from ovseg_ros.core.device import Network
from ovseg_ros.core.engines.job import Job, Store, fingerprint

NEEDS = ("onnxruntime", "onnx", "onnxscript")
"""Packages: the runtime, and what torch's exporter takes."""

_LOG = logging.getLogger(__name__)
_TENSORRT, _CUDA, _CPU = (f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "CPU"))
_SMALLEST, _USUAL, _LARGEST = 1, 16, 64  # rows for which TensorRT plans


def onnx_network(job: Job, store: Store | None, *, tensorrt: bool = False) -> Network:
    """The network as ONNX Runtime runs it.

    Args:
        job: see there. The exported graph is in float32; TensorRT computes in 16 bits where the job says so.
        store: keeps the exported graph, and TensorRT's programs.
        tensorrt: take TensorRT where this build of ONNX Runtime has it.

    Returns:
        See `run_elsewhere`. Calls from several threads may run at once.

    Raises:
        Exception: whatever torch's exporter and ONNX Runtime raise.
    """
    runtime = importlib.import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = job.threads
    # Threads that wait in a loop would take the cores from torch and ROS.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = _providers(job, store, tensorrt)
    here = runtime.get_available_providers()
    missing = [name for name, _ in wanted if name not in here]
    if missing:
        _LOG.warning(
            "this ONNX Runtime has no %s, going on with %s",
            ", ".join(missing),
            ", ".join(name for name, _ in wanted if name in here),
        )
    session = runtime.InferenceSession(
        _graph(job, store), options, providers=[one for one in wanted if one[0] in here]
    )
    names = [given.name for given in session.get_inputs()]

    def run(*inputs: torch.Tensor) -> Any:
        arrays = [part.detach().float().cpu().contiguous().numpy() for part in inputs]
        count = len(arrays[0])
        step = count if _any_rows(job) else 1
        found = [
            session.run(
                None, {name: array[at : at + step] for name, array in zip(names, arrays, strict=True)}
            )
            for at in range(0, count, step)
        ]
        parts = tuple(
            torch.cat([torch.from_numpy(part) for part in batch]).to(job.device)
            for batch in zip(*found, strict=True)
        )
        return parts if len(parts) > 1 else parts[0]

    return run


def version() -> tuple[object, ...]:
    """Of ONNX Runtime, and what this build of it can run on."""
    runtime = importlib.import_module("onnxruntime")
    return runtime.__version__, runtime.get_available_providers()


def _providers(job: Job, store: Store | None, tensorrt: bool) -> list[tuple[str, dict[str, Any]]]:
    """Execution providers, best first, with their options."""
    if job.device.type != "cuda":
        return [(_CPU, {})]
    card = job.device.index or 0
    chosen: list[tuple[str, dict[str, Any]]] = [(_CUDA, {"device_id": card}), (_CPU, {})]
    if not tensorrt:
        return chosen
    planned: dict[str, Any] = {
        "device_id": card,
        "trt_fp16_enable": job.precision == "fp16",
        "trt_bf16_enable": job.precision == "bf16",
    }
    if store is not None:
        planned |= {"trt_engine_cache_enable": True, "trt_engine_cache_path": store.folder}
    if _any_rows(job):
        for key, rows in (("min", _SMALLEST), ("opt", _USUAL), ("max", _LARGEST)):
            planned[f"trt_profile_{key}_shapes"] = ",".join(
                f"{_input(n)}:{rows}x" + "x".join(map(str, part.shape[1:]))
                for n, part in enumerate(job.example)
            )
    return [(_TENSORRT, planned), *chosen]


def _graph(job: Job, store: Store | None) -> bytes:
    """The network in ONNX, exported anew where the store has none."""
    name = "" if store is None else fingerprint(job, "onnx", _any_rows(job)) + ".onnx"
    if store is not None and (kept := store.read(name)) is not None:
        return kept
    content = exported(job)
    if store is not None:
        store.write(name, content)
    return content


def exported(job: Job) -> bytes:
    """The network in ONNX; its inputs are input_0, input_1, …: of one row, on a card of any number.

    Raises:
        ValueError: the network takes one number of rows alone, where it shall take any.
        Exception: whatever torch's exporter raises.
    """
    # Two rows: what is one in the example is one for good.
    count = 2 if _any_rows(job) else 1
    example = tuple(part.expand(count, *part.shape[1:]).contiguous() for part in job.example)
    shapes = tuple({0: torch.export.Dim("rows", min=1)} for _ in example) if _any_rows(job) else None
    with warnings.catch_warnings(), torch.no_grad(), _quiet():
        warnings.simplefilter("ignore")
        program: Any = torch.onnx.export(
            job.module,
            example,
            input_names=[_input(number) for number in range(len(example))],
            dynamic_shapes=shapes,
            dynamo=True,
            verbose=False,
        )
    graph = program.model.graph
    fixed = [part.name for part in (*graph.inputs, *graph.outputs) if isinstance(part.shape[0], int)]
    if fixed and _any_rows(job):
        # torch's exporter says nothing where the network's code asks for the number, as len(rows) does.
        raise ValueError(f"the exported network takes {count} rows and no others: {', '.join(fixed)}")
    content: bytes = program.model_proto.SerializeToString()
    return content


def _any_rows(job: Job) -> bool:
    """Whether the graph takes any number of rows: on a card. A CPU is as fast with one after another."""
    return job.rows and job.device.type == "cuda"


def _input(number: int) -> str:
    return f"input_{number}"


@contextlib.contextmanager
def _quiet() -> Any:
    """Keeps the exporter's and onnxscript's own remarks out of the log."""
    loggers = [logging.getLogger(name) for name in ("onnxscript", "onnx_ir", "torch.onnx")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
