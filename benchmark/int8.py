"""Networks in 8 bits, for `runtimes.py --int8`: what OpenVINO's NNCF and ONNX Runtime make of them.

Needs `pip install nncf '.[fast]' '.[engines]'`. The package itself offers no 8 bits: docs/speed.md,
"Engines", has what they gain and cost.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ovseg_ros.core.device import Network
from ovseg_ros.core.engines import Job
from ovseg_ros.core.engines.onnx_runtime import exported

Rows = Sequence[tuple[torch.Tensor, ...]]
"""What to calibrate on: the network's inputs, each with one row."""


def by_nncf(job: Job, rows: Rows, *, transformer: bool) -> Network:
    """NNCF's post-training quantisation (symmetric where it can be, weights per channel), in OpenVINO."""
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    import nncf
    import openvino

    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(job.module, job.example, strict=False, check_trace=False)
        shapes = [part.shape for part in job.example]
        model = openvino.convert_model(traced, example_input=job.example, input=shapes)
    model = nncf.quantize(
        model,
        nncf.Dataset([[part.numpy() for part in row] for row in rows]),
        subset_size=len(rows),
        preset=nncf.QuantizationPreset.MIXED,
        model_type=nncf.ModelType.TRANSFORMER if transformer else None,
    )
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "INFERENCE_NUM_THREADS": job.threads,
        "NUM_STREAMS": job.threads if job.rows else 1,
    }
    queue = openvino.AsyncInferQueue(openvino.Core().compile_model(model, "CPU", settings), job.threads)

    def run(*inputs: torch.Tensor) -> Any:
        found: dict[int, list[torch.Tensor]] = {}
        queue.set_callback(
            lambda request, n: found.__setitem__(
                n, [torch.from_numpy(part.data.copy()) for part in request.output_tensors]
            )
        )
        for n in range(len(inputs[0])):
            queue.start_async([part[n : n + 1].contiguous().numpy() for part in inputs], userdata=n)
        queue.wait_all()
        return _joined([found[n] for n in range(len(inputs[0]))])

    return run


def by_onnxruntime(job: Job, rows: Rows) -> Network:
    """ONNX Runtime's static quantisation: QDQ, weights per channel, ranges by their least and greatest."""
    import onnxruntime
    from onnxruntime import quantization

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter(rows)

        def get_next(self) -> Any:
            row = next(self.rows, None)
            return row and {f"input_{n}": part.numpy() for n, part in enumerate(row)}

    with tempfile.TemporaryDirectory() as folder:
        plain, ready, short = (Path(folder, f"{name}.onnx") for name in ("plain", "ready", "short"))
        plain.write_bytes(exported(job))
        quantization.quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantization.quantize_static(ready, short, Reader(), per_channel=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = job.threads
        session = onnxruntime.InferenceSession(short, options, providers=["CPUExecutionProvider"])

    def run(*inputs: torch.Tensor) -> Any:
        found = []
        for n in range(len(inputs[0])):
            given = {f"input_{k}": part[n : n + 1].contiguous().numpy() for k, part in enumerate(inputs)}
            found.append([torch.from_numpy(part) for part in session.run(None, given)])
        return _joined(found)

    return run


def _joined(rows: list[list[torch.Tensor]]) -> Any:
    parts = tuple(torch.cat(parts) for parts in zip(*rows, strict=True))
    return parts if len(parts) > 1 else parts[0]
