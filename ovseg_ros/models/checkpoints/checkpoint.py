"""Reading weights files without running anything they hold, and filling a network from them exactly.

Two functions are the one way by which weights come in: `read_weights` turns a file into named tensors,
`load_exactly` puts them into a network that must want precisely these. Nothing in a file is executed:
safetensors holds no code, pickles go through `torch.load(weights_only=True)`, and of TorchScript archives
only the tensors are read.
"""

from __future__ import annotations

import fnmatch
import pickle
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.checkpoints.numpy_scalars import with_numpy_scalars
from ovseg_ros.models.checkpoints.prefixes import common_beginning, fitted, without_wrappers
from ovseg_ros.models.checkpoints.torchscript import read_torchscript
from ovseg_ros.models.downloads.verify import verified_file

_OLD_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""How a file of torch.save from before 1.6 begins: its magic number, pickled."""

DEFAULT_CURE = "fetch the file again from where it was published, or name the right one"
WRAPPERS = ("model", "state_dict", "model_state_dict", "module", "network", "net", "weights", "params")
"""Keys under which training programs keep the weights beside optimizer and counters."""

SHOWN = 10
"""So many keys of a kind are written out in a message."""

RESAVE = (
    "python -c \"import torch, safetensors.torch as s; m = torch.load('{name}', map_location='cpu', "
    "weights_only=False); m = m.get('model', m.get('state_dict', m)); "
    "s.save_file({{k: v.clone().contiguous() for k, v in m.items()}}, '{stem}.safetensors')\""
)


def read_weights(
    path: Path, *, cure: str = "", sha256: str | None = None
) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    """Reads named tensors from a file, on the CPU, in the dtype they are stored in.

    What the file is is seen from its content: safetensors; a torch zip archive (`.pth`, `.pt`, `.bin`), whose
    tensors are mapped from the disk and not read until used; TorchScript, as OpenAI publishes CLIP, of which
    only the tensors are read; or torch's old format from before 1.6. A state dict inside {"model": …} or
    {"state_dict": …} is taken out, and what torch's wrappers put into names comes off: see `prefixes`.

    Args:
        path: the file.
        cure: ends every error message: what to do about it.
        sha256: 64 hex digits the content must have, or None.

    Returns:
        Tensors by name (plain numbers become 0-d tensors), and the metadata of a safetensors file, else {}.

    Raises:
        WeightsError: missing, another SHA-256, truncated, holds anything but tensors (such as pickled code),
            or is no weights file; names file, expectation and cure.
    """
    path, cure = Path(path), cure or DEFAULT_CURE
    if path.is_dir():
        raise WeightsError(f"expected the weights file {path}, it is a folder; name a file in it")
    if not path.is_file():
        raise WeightsError(f"expected the weights file {path}, it does not exist; {cure}")
    if sha256 is not None:
        verified_file(path, sha256.lower(), cure)
    with path.open("rb") as file:
        start = file.read(64)
    if path.suffix == ".safetensors" or (start[8:9] == b"{" and start[:1] != b"\x80"):
        tensors, metadata = _read_safetensors(path, start, cure)
    else:
        tensors, metadata = _read_torch(path, start, cure), {}
    return without_wrappers(tensors), metadata


def load_exactly(
    module: nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    path: Path,
    what: str,
    cure: str = "",
    ignore: Collection[str] = (),
) -> None:
    """Copies `state` into `module`, which must want exactly its names and shapes.

    Values are cast to the module's dtype, floating to floating and whole numbers to whole numbers; nothing
    is copied unless everything fits. One beginning that all names of `state` share comes off if then all fit.

    Args:
        module: network to fill, in place; its device and dtype stay.
        state: tensors by the module's own names.
        path: where they come from, for messages.
        what: the architecture, for messages, such as "CLIP ViT-L-14".
        cure: ends every error message.
        ignore: names, or patterns such as "*.num_batches_tracked", that may be in either without the other.

    Raises:
        WeightsError: keys missing, unexpected, of another shape or kind, or values that are not finite in the
            module's dtype; lists the first ten of each and says how many more there are.
    """
    own = module.state_dict()
    state = fitted(own, state, lambda key: not _is_any(key, ignore))
    fitting = check_layout(own, state, path=path, what=what, cure=cure, ignore=ignore)
    bad = [key for key, value in fitting.items() if not _is_finite(value.to(own[key].dtype))]
    _refuse_bad(bad, path, cure or DEFAULT_CURE)
    module.load_state_dict(fitting, strict=False)


def check_layout(
    own: Mapping[str, torch.Tensor],
    state: Mapping[str, torch.Tensor],
    *,
    path: Path,
    what: str,
    cure: str = "",
    ignore: Collection[str] = (),
) -> dict[str, torch.Tensor]:
    """The tensors of `state` that a network with the state dict `own` (which may be on "meta") takes.

    Raises:
        WeightsError: see `load_exactly`, except for the values.
    """
    cure = cure or DEFAULT_CURE

    def counts(key: str) -> bool:
        return not _is_any(key, ignore)

    both = [key for key in own if key in state]
    found = {
        "missing": [key for key in own if key not in state and counts(key)],
        "unexpected": [key for key in state if key not in own and counts(key)],
        "other shape": [
            f"{key} {tuple(state[key].shape)} instead of {tuple(own[key].shape)}"
            for key in both
            if state[key].shape != own[key].shape
        ],
        "other kind of numbers": [
            f"{key} {state[key].dtype} instead of {own[key].dtype}"
            for key in both
            if state[key].is_floating_point() != own[key].is_floating_point()
            or state[key].is_complex() != own[key].is_complex()
        ],
    }
    problems = [f"{kind} {listed(keys)}" for kind, keys in found.items() if keys]
    if problems:
        beginning = common_beginning(state)
        if beginning and not any(key.startswith(beginning) for key in own):
            problems.append(
                f"all names begin with {beginning!r}, and what stands behind it does not fit either"
            )
        raise WeightsError(f"{path} does not hold {what}: {', '.join(problems)}; {cure}")
    return {key: state[key] for key in both}


def check_finite(state: Mapping[str, torch.Tensor], *, path: Path, cure: str = "") -> None:
    """Refuses weights with a NaN or an infinity in them.

    Raises:
        WeightsError: lists the tensors.
    """
    _refuse_bad([key for key, value in state.items() if not _is_finite(value)], path, cure or DEFAULT_CURE)


def _is_any(key: str, patterns: Collection[str]) -> bool:
    return any(fnmatch.fnmatchcase(key, pattern) for pattern in patterns)


def _refuse_bad(bad: list[str], path: Path, cure: str) -> None:
    if bad:
        raise WeightsError(f"expected finite weights in {path}, got NaN or infinity in {listed(bad)}; {cure}")


def listed(keys: Collection[str]) -> str:
    """The first ten as a Python list, and how many more there are."""
    more = f" and {len(keys) - SHOWN} more" if len(keys) > SHOWN else ""
    return f"{list(keys)[:SHOWN]}{more}"


def _read_safetensors(path: Path, start: bytes, cure: str) -> tuple[dict[str, torch.Tensor], dict[str, str]]:
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except (SafetensorError, RuntimeError, ValueError, OSError) as error:
        raise WeightsError(
            f"{path} is not a safetensors file, or not all of one ({_guess(start) or error}); {cure}"
        ) from error


def _read_torch(path: Path, start: bytes, cure: str) -> dict[str, torch.Tensor]:
    is_zip = start.startswith(b"PK")
    if is_zip and _is_torchscript(path, cure):
        return _state_dict(read_torchscript(path, cure), path, cure)
    if not is_zip and not start.startswith(_OLD_TORCH):
        raise WeightsError(
            f"expected weights (.safetensors, or .pth, .pt, .bin of torch) in {path}, "
            f"got {_guess(start) or 'another kind of file'}; {cure}"
        )
    try:
        with with_numpy_scalars():
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
    except Exception as error:  # a damaged pickle can raise anything
        raise _unreadable(path, error, cure) from error
    return _state_dict(content, path, cure)


def _is_torchscript(path: Path, cure: str) -> bool:
    """Whether a torch zip archive holds a program beside its tensors; refuses other archives."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.partition("/")[2] for name in archive.namelist()]
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise WeightsError(
            f"expected a whole file, {path} ends too early (a zip archive without its table); {cure}"
        ) from error
    if "data.pkl" not in names:
        raise WeightsError(
            f"expected a state dict in {path}, got a zip archive that torch did not write (no data.pkl); "
            f"{cure}"
        )
    return "constants.pkl" in names


def _unreadable(path: Path, error: Exception, cure: str) -> WeightsError:
    text = str(error)
    telling = ("GLOBAL", "module", "NumPy")
    if isinstance(error, pickle.UnpicklingError) and any(word in text for word in telling):
        return WeightsError(
            f"expected only tensors in {path}, it holds code or objects other than tensors and is refused "
            f"({_reason(text)}); {cure}; if you trust it, run on a machine where that is safe: "
            f"{RESAVE.format(name=path.name, stem=path.stem)}"
        )
    return WeightsError(
        f"expected a whole weights file, {path} is damaged or truncated ({_reason(text)}); {cure}"
    )


def _reason(text: str) -> str:
    """The telling line of torch's long advice, which begins by explaining how to load it all the same."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    telling = [line for line in lines if "GLOBAL" in line or "WeightsUnpickler error" in line]
    return (telling or lines or ["no reason given"])[0].rpartition("error: ")[2][:200]


def _state_dict(content: Any, path: Path, cure: str) -> dict[str, torch.Tensor]:
    """Takes the state dict out of what a training program saved around it."""
    for _ in range(3):
        inner = [content[key] for key in WRAPPERS if isinstance(content, Mapping) and key in content]
        if not inner or not isinstance(inner[0], Mapping):
            break
        content = inner[0]
    if not isinstance(content, Mapping) or not all(isinstance(key, str) for key in content):
        raise WeightsError(f"expected a state dict (name: tensor) in {path}, got {_kind(content)}; {cure}")
    others = [f"{key} ({_kind(value)})" for key, value in content.items() if not _is_value(value)]
    if others or not content:
        got = f"values that are no tensors: {listed(others)}" if others else "an empty one"
        raise WeightsError(f"expected a state dict (name: tensor) in {path}, got {got}; {cure}")
    return {
        key: value.detach() if isinstance(value, torch.Tensor) else torch.tensor(value)
        for key, value in content.items()
    }


def _is_value(value: object) -> bool:
    if isinstance(value, torch.Tensor):
        return value.layout == torch.strided and not value.is_quantized
    return isinstance(value, (bool, int, float))


def _kind(value: object) -> str:
    if isinstance(value, Mapping):
        return f"a mapping with the keys {listed([str(key) for key in value])}"
    return f"a {type(value).__name__}"


def _guess(start: bytes) -> str:
    """What a file that is no weights file seems to be instead."""
    text = start.lstrip().lower()
    if not start:
        return "an empty file"
    if text.startswith(b"version https://git-lfs"):
        return "a Git LFS pointer instead of the content"
    if text.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "a web page, perhaps a log-in or error page saved in its place"
    if start[:1] == b"\x80":
        return "a pickle that torch did not write, which may hold code and is refused"
    if start.startswith((b"\x1f\x8b", b"7z", b"BZh", b"\xfd7zXZ")):
        return "a compressed file, unpack it first"
    return ""


def _is_finite(value: torch.Tensor) -> bool:
    if value.numel() == 0 or value.is_meta or not (value.is_floating_point() or value.is_complex()):
        return True
    if value.is_complex():
        return bool(torch.isfinite(value).all())
    wide = value if value.element_size() > 1 else value.float()  # 8-bit floats know no minimum
    low, high = wide.aminmax()  # NaN passes through both; no copy of the tensor is made
    return bool(torch.isfinite(low) & torch.isfinite(high))
