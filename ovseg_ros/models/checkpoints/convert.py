"""OVSeg's released checkpoints, split into one safetensors file per part.

    backbone.*, sem_seg_head.*             -> proposals.safetensors    the same names
    clip_adapter.clip_model.*              -> clip.safetensors         OpenAI's CLIP names
    clip_adapter.clip_model.visual.mask_embedding -> prompts.safetensors      mask_prompts
    clip_adapter.non_object_embedding      -> non_object.safetensors   non_object_embedding

Which file it is, is seen from names and shapes (`ovseg_ros.models.checkpoints.ovseg_parts`); its name and MD5
serve for warnings only.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from ovseg_ros.errors import WeightsError
from ovseg_ros.models.checkpoints.checkpoint import check_finite, read_weights
from ovseg_ros.models.checkpoints.ovseg_parts import CURE, Checkpoint, take_apart
from ovseg_ros.models.downloads.files import cache_dir, known_files
from ovseg_ros.models.downloads.verify import digest_of, sha256_of

LICENCE = "CC-BY-NC-4.0"
WITHOUT = {
    "proposals": "the preset ovseg cannot run on it; presets with SAM and this CLIP, such as ovseg_sam, can",
    "clip": "words cannot be compared with masks; take a CLIP from another file",
    "prompts": "CLIP runs without mask prompts",
    "non_object": "MaskFormer's own classes and the ensemble cannot run; CLIP alone can",
}

_ENDINGS = (".pth", ".pt", ".bin", ".pkl", ".safetensors")
_SPARE_BYTES = 1 << 20
_LOG = logging.getLogger(__name__)


def convert_checkpoint(
    source: Path,
    out_dir: Path | None = None,
    *,
    force: bool = False,
    activation: str = "auto",
    report: Callable[[str], None] = _LOG.info,
    warn: Callable[[str], None] = _LOG.warning,
) -> list[Path]:
    """Splits a released OVSeg file.

    Each part is written beside its final name first and then renamed, so that no half a file is ever found;
    nothing is written unless everything can be.

    Args:
        source: the checkpoint.
        out_dir: folder for the parts, made when needed; `cache_dir()`/<name of the checkpoint> by default.
        force: overwrite files with other content.
        activation: of CLIP, where the file does not tell: "gelu" or "quick_gelu".
        report: takes a line on what is being done or was found.
        warn: takes a line on what deserves attention.

    Returns:
        The files, written or found there with the same content.

    Raises:
        ConfigError: an activation that is none.
        WeightsError: the source is missing, damaged, holds code, values that are not finite or names that do
            not belong there (lists them); or a file with other content is in the way; or no space.
    """
    source = Path(source)
    report(f"reading {source}")
    tensors, _ = read_weights(source, cure=CURE)
    checkpoint = take_apart(tensors, source, activation=activation)
    for part, values in checkpoint.parts.items():
        report(f"checking {part}: {checkpoint.architectures[part]}, {len(values)} tensors")
        check_finite(values, path=source, cure=CURE)
    report(f"hashing {source.stat().st_size / 1e6:.1f} MB")
    sha256 = sha256_of(source)
    _compare_md5(source, digest_of(source, "md5"), report, warn)
    for part in checkpoint.missing:
        warn(f"{source.name} holds no {part}: {WITHOUT[part]}")
    folder = default_folder(source) if out_dir is None else Path(out_dir)
    return _write_all(
        folder, checkpoint, {"source_name": source.name, "source_sha256": sha256}, force, report
    )


def default_folder(source: Path) -> Path:
    """Where the parts of a checkpoint are looked for: the cache, under its name without any ending."""
    stem = source.name
    while Path(stem).suffix in _ENDINGS:
        stem = Path(stem).stem  # browsers save ovseg_R101c_vitB16_ft_mpt.pth.pt
    return cache_dir() / stem


def read_metadata(path: Path) -> dict[str, str]:
    """What a converted file says of itself: part, source_name, source_sha256, activation, architecture, ….

    Returns:
        {} for a file of another format or without metadata. Only its first bytes are read.

    Raises:
        WeightsError: no file there, or a damaged one.
    """
    if not Path(path).is_file():
        raise WeightsError(
            f"expected the weights file {path}, it does not exist; run `ovseg convert-checkpoint`"
        )
    if Path(path).suffix != ".safetensors":
        return {}
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is not a safetensors file, or not all of one: {error}; {CURE}") from error


def _compare_md5(source: Path, md5: str, report: Callable[[str], None], warn: Callable[[str], None]) -> None:
    """Says which released file it is by its MD5; users may have saved it anew, so others are not refused."""
    released = {file.name: file.md5_prefix for file in known_files() if file.md5_prefix}
    for name, prefix in released.items():
        if md5.startswith(prefix):
            report(f"MD5 {md5[:6]}…: as published for {name}")
            return
    if source.name in released:
        warn(
            f"expected {source.name} with an MD5 that begins {released[source.name]}, as published, got "
            f"{md5}: "
            "saved anew, or not the released file"
        )
    else:
        report(f"MD5 {md5[:6]}…: none of those published ({', '.join(sorted(released.values()))})")


def _write_all(
    folder: Path,
    checkpoint: Checkpoint,
    source: Mapping[str, str],
    force: bool,
    report: Callable[[str], None],
) -> list[Path]:
    """Writes the parts that are not there yet, or none if one of them must not be."""
    paths = {part: folder / f"{part}.safetensors" for part in checkpoint.parts}
    metadata = {
        part: {
            "format": "pt",  # what safetensors' other readers look for
            "part": part,
            **source,
            "activation": checkpoint.activation,
            "architecture": checkpoint.architectures[part],
            "licence": LICENCE,
        }
        for part in paths
    }
    there = {part for part, path in paths.items() if path.exists()}
    same = {part for part in there if _holds(paths[part], checkpoint.parts[part], metadata[part])}
    in_the_way = [str(paths[part]) for part in paths if part in there - same]
    if in_the_way and not force:
        raise WeightsError(
            f"cannot write {', '.join(in_the_way)}, there are files with other content; name another "
            "folder with --out, or overwrite them with --force"
        )
    wanted = [part for part in paths if part not in same]
    _check_space(folder, sum(_bytes(checkpoint.parts[part]) for part in wanted))
    for part, path in paths.items():
        if part in same:
            report(f"{path} is there already, with the same content")
        else:
            report(f"writing {path} ({_bytes(checkpoint.parts[part]) / 1e6:.1f} MB)")
            _write(path, checkpoint.parts[part], metadata[part])
    return list(paths.values())


def _write(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> None:
    part = path.with_name(f"{path.name}.part")
    try:
        save_file(_separate(tensors), part, dict(metadata))
        os.replace(part, path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"cannot write {path}: {error}; name another folder with --out") from error
    finally:
        part.unlink(missing_ok=True)


def _separate(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies those that share memory, are a piece of a larger one or expanded: safetensors refuses these."""
    seen: set[int] = set()
    separate = {}
    for key, value in tensors.items():
        whole = value.is_contiguous() and value.untyped_storage().nbytes() == value.nbytes
        if not whole or value.data_ptr() in seen:
            value = value.clone(memory_format=torch.contiguous_format)
        seen.add(value.data_ptr())
        separate[key] = value
    return separate


def _holds(path: Path, tensors: Mapping[str, torch.Tensor], metadata: Mapping[str, str]) -> bool:
    """Whether a file has this content; its bytes may be in another order."""
    try:
        there, said = read_weights(path)
    except WeightsError:
        return False
    return (
        said == metadata
        and there.keys() == tensors.keys()
        and all(
            there[key].dtype == value.dtype and torch.equal(there[key], value)
            for key, value in tensors.items()
        )
    )


def _check_space(folder: Path, needed: int) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise WeightsError(f"cannot make the folder {folder}: {error}; name another with --out") from error
    if needed and free < needed + _SPARE_BYTES:
        raise WeightsError(
            f"expected {needed / 1e9:.1f} GB of space in {folder}, there are {free / 1e9:.1f}; name another "
            "folder with --out"
        )


def _bytes(tensors: Mapping[str, torch.Tensor]) -> int:
    return sum(value.nbytes for value in tensors.values())
