"""The processes, devices and number formats of a training run: a thin front of Hugging Face Accelerate."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ovseg_ros.errors import ConfigError, install_cure

_LOG = logging.getLogger(__name__)


class Processes:
    """This process among those that train together.

    Args:
        device: "cpu", "cuda", "cuda:1" …; with a launcher each process takes the GPU of its local rank.
        precision: "auto", "fp32", "bf16" or "fp16".

    Attributes:
        accelerator: Accelerate's own, for what is not here.
        rank: of this process.
        count: of all.
        device: of this process.
        precision: what "auto" came to.
        scales_loss: fp16 needs the loss scaled, and skips steps that overflow.
    """

    def __init__(self, device: str, precision: str) -> None:
        """See the class.

        Raises:
            ConfigError: Accelerate is missing; no such device; a precision it does not have.
        """
        try:
            from accelerate import Accelerator
            from accelerate.state import AcceleratorState, PartialState
        except ImportError as error:
            raise ConfigError(f"training needs Accelerate; {install_cure('learn')}") from error
        kind = torch.device(device)
        if kind.type not in ("cpu", "cuda"):
            raise ConfigError(f"expected cpu or cuda to train on, got {device!r}")
        if kind.type == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"device {device!r} cannot be used: torch sees no GPU; try cpu")
        alone = int(os.environ.get("WORLD_SIZE", "1")) == 1
        if AcceleratorState._shared_state or PartialState._shared_state:  # an earlier run in this process
            AcceleratorState._reset_state(reset_partial_state=alone)
        if alone and kind.index is not None:
            torch.cuda.set_device(kind)
        self.precision = _precision(kind, precision)
        self.accelerator = Accelerator(
            cpu=kind.type == "cpu", mixed_precision="no" if self.precision == "fp32" else self.precision
        )
        self.rank, self.count = self.accelerator.process_index, self.accelerator.num_processes
        self.device = self.accelerator.device
        self.scales_loss = self.precision == "fp16"
        self._writer: Any = None

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and reports."""
        return self.rank == 0

    @property
    def on_gpu(self) -> bool:
        """Whether batches are copied to a GPU."""
        return self.device.type == "cuda"

    def sum(self, values: torch.Tensor) -> torch.Tensor:
        """The sum over all processes, on the CPU."""
        if self.count == 1:
            return values
        return self.accelerator.reduce(values.to(self.device), "sum").cpu()

    def backward(self, loss: torch.Tensor, parameters: Iterable[nn.Parameter], limit: float) -> float:
        """Gradients, limited to a norm of `limit`; returns the norm they had."""
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(list(parameters), limit)
        return float(norm) if norm is not None else 0.0

    def scaler_state(self) -> dict[str, Any] | None:
        """State of the loss scaler, where there is one."""
        return None if self.accelerator.scaler is None else self.accelerator.scaler.state_dict()

    def random_states(self) -> list[dict[str, torch.Tensor]]:
        """States of torch's generators in all processes, by rank; a meeting point of all of them."""
        own = {"cpu": torch.get_rng_state()}
        if self.on_gpu:
            own["gpu"] = torch.cuda.get_rng_state(self.device)
        return self.everyone(own)

    def everyone(self, own: Any) -> list[Any]:
        """What each process gives, by rank; a meeting point of all of them."""
        if self.count == 1:
            return [own]
        gathered: list[Any] = [None] * self.count
        torch.distributed.all_gather_object(gathered, own)
        return gathered

    def restore(self, scaler: Mapping[str, Any] | None, states: list[Mapping[str, torch.Tensor]]) -> None:
        """Puts back what `scaler_state` and `random_states` gave."""
        if scaler is not None and self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(dict(scaler))
        if len(states) == self.count:
            torch.set_rng_state(states[self.rank]["cpu"])
            if self.on_gpu and "gpu" in states[self.rank]:
                torch.cuda.set_rng_state(states[self.rank]["gpu"], self.device)

    def chart(self, run: Path, record: Mapping[str, Any]) -> None:
        """Writes the numbers of a record for TensorBoard, under the run's folder."""
        if self._writer is None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                cure = install_cure("learn")
                _LOG.warning("TensorBoard is not installed, so only history.jsonl is written; %s", cure)
                self._writer = False
                return
            self._writer = SummaryWriter(str(Path(run) / "tensorboard"), purge_step=record["step"] + 1)
        if self._writer:
            for name, value in record.items():
                if name not in ("step", "pairs", "nouns") and isinstance(value, (int, float)):
                    part = "held_out" if name in ("top1", "cosine") else "train"
                    self._writer.add_scalar(f"{part}/{name}", value, record["step"])
            self._writer.flush()

    def close(self) -> None:
        """Ends what was begun: the charts."""
        if self._writer:
            self._writer.close()
        self._writer = None


def _precision(device: torch.device, asked: str) -> str:
    """What "auto" comes to on a device."""
    if asked == "fp16" and device.type == "cpu":
        raise ConfigError("expected precision fp32 or bf16 on a CPU, got fp16")
    if asked != "auto":
        return asked
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"
