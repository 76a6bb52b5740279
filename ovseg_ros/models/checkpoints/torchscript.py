"""The tensors of a TorchScript archive, without the program in it.

OpenAI publishes CLIP as TorchScript: a zip archive with the network's code (`code/`), its object tree as a
pickle (`data.pkl`) and one file per storage (`data/0`, `data/1`, …). Only the last two are read here, with an
unpickler that knows tensors, lists of numbers and empty shells in place of objects, and nothing else.
"""

from __future__ import annotations

import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import torch

from ovseg_ros.errors import WeightsError

_DTYPES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
}
_LISTS = ("build_intlist", "build_tensorlist", "build_doublelist", "build_boollist")


def read_torchscript(path: Path, cure: str) -> dict[str, torch.Tensor]:
    """Every tensor attribute in the archive's object tree, by its dotted name, on the CPU.

    Args:
        path: a zip archive with `data.pkl`, as torch.jit.save writes.
        cure: ends the error messages.

    Raises:
        WeightsError: damaged, or the pickle holds anything but tensors, numbers and shells of objects.
    """
    tensors: dict[str, torch.Tensor] = {}
    try:
        with zipfile.ZipFile(path) as archive:
            (tree,) = [name for name in archive.namelist() if name.partition("/")[2] == "data.pkl"]
            with archive.open(tree) as file:
                root = _Unpickler(file, archive, tree.partition("/")[0]).load()
        _collect(root, "", tensors, set())
    except WeightsError as error:
        raise WeightsError(f"expected only tensors in {path}, got {error}; {cure}") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise WeightsError(
            f"expected a whole TorchScript archive, {path} is damaged ({error}); {cure}"
        ) from error
    return tensors


class _Shell:
    """Stands for an object of the archive's own classes: attributes, no behaviour."""

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state if isinstance(state, dict) else {})


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: Any, archive: zipfile.ZipFile, top: str) -> None:
        super().__init__(file)
        self._archive, self._top = archive, top
        self._storages: dict[str, torch.Tensor] = {}

    def find_class(self, module: str, name: str) -> Any:
        """The few names that may occur; whatever else a pickle asks for is refused, not imported."""
        allowed: dict[tuple[str, str], Callable[..., Any]] = {
            ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
            ("torch._utils", "_rebuild_parameter"): lambda data, *_: data,
            ("collections", "OrderedDict"): OrderedDict,
            ("torch.jit._pickle", "restore_type_tag"): lambda value, _: value,
            **{("torch.jit._pickle", kind): list for kind in _LISTS},
        }
        if (module, name) in allowed:
            return allowed[module, name]
        if module == "__torch__" or module.startswith("__torch__."):
            return _Shell
        if module == "torch" and name in _DTYPES:
            return _DTYPES[name]
        _refuse(f"code or objects other than tensors, {module}.{name}")

    def persistent_load(self, pid: Any) -> torch.Tensor:
        """A storage as a flat tensor, read once from the archive."""
        kind, dtype, key, _device, count = pid
        if kind != "storage" or not isinstance(dtype, torch.dtype):
            _refuse(f"a reference to {pid!r}")
        if key not in self._storages:
            content = bytearray(self._archive.read(f"{self._top}/data/{key}"))
            self._storages[key] = torch.frombuffer(content, dtype=dtype) if content else torch.empty(0)
        storage = (
            self._storages[key].view(dtype) if self._storages[key].numel() else torch.empty(0, dtype=dtype)
        )
        if storage.numel() < count:
            raise ValueError(f"data/{key} ends too early")
        return storage


def _refuse(what: str) -> NoReturn:
    raise WeightsError(what)


def _rebuild_tensor(
    storage: torch.Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> torch.Tensor:
    return torch.as_strided(storage, size, stride, offset)


def _collect(node: Any, name: str, tensors: dict[str, torch.Tensor], above: set[int]) -> None:
    """Gathers tensors depth first; `above` are the objects on the way down, so that a ring ends."""
    if isinstance(node, torch.Tensor):
        tensors[name] = node
    elif isinstance(node, _Shell) and id(node) not in above:
        for key, value in vars(node).items():
            _collect(value, f"{name}.{key}" if name else key, tensors, above | {id(node)})
