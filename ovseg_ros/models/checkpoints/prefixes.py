"""What training programs put before and into a network's own names, and how it comes off again.

Only what cannot be a network's own: parts that torch's wrappers insert anywhere, and one beginning that all
names share, and that only if the names behind it are those of the network.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Mapping

import torch

_INSERTED = frozenset({"_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"})
"""By torch.compile, FSDP and activation checkpointing."""


def without_wrappers(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Without the parts that torch's wrappers insert, and DataParallel's "module." before every name.

    Where two names would become one, all stay as they are, and no network takes them.
    """
    plain = {key: ".".join(part for part in key.split(".") if part not in _INSERTED) for key in tensors}
    kept = dict(tensors)
    if all(plain.values()) and len(set(plain.values())) == len(plain):
        kept = {plain[key]: value for key, value in tensors.items()}
    return _behind("module.", kept) if kept and all(key.startswith("module.") for key in kept) else kept


def unwrapped(tensors: Mapping[str, torch.Tensor], wanted: Collection[str]) -> dict[str, torch.Tensor]:
    """Without the common beginning behind which at least one of the `wanted` names stands; else as they are.

    It is for readers that look for names before they know the network; `load_exactly` checks the rest.
    """
    for beginning in _beginnings(tensors):
        if any(f"{beginning}{name}" in tensors for name in wanted):
            return _behind(beginning, tensors)
    return dict(tensors)


def fitted(
    own: Collection[str], state: Mapping[str, torch.Tensor], counts: Callable[[str], bool]
) -> Mapping[str, torch.Tensor]:
    """Without the common beginning behind which stand exactly the names `own`; else as they are.

    Args:
        own: names of the network.
        state: tensors of a file.
        counts: whether a name has to be in both.
    """
    wanted = set(filter(counts, own))
    for beginning in _beginnings(state):
        if set(filter(counts, (key.removeprefix(beginning) for key in state))) == wanted:
            return _behind(beginning, state)
    return state


def common_beginning(names: Collection[str]) -> str:
    """The longest beginning, up to a dot, that all names share: "model.net."; "" for none.

    Examples:
        >>> common_beginning(["model.a.weight", "model.b"]), common_beginning(["a", "b"])
        ('model.', '')
    """
    parts = [name.split(".")[:-1] for name in names]
    shared = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*parts, strict=False))
    return "".join(f"{level[0]}." for level in shared)


def _beginnings(names: Collection[str]) -> Iterator[str]:
    """No beginning, then those that all names share, the shortest first."""
    parts = common_beginning(names).split(".")[:-1]
    yield from ("".join(f"{part}." for part in parts[:count]) for count in range(len(parts) + 1))


def _behind(beginning: str, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {key.removeprefix(beginning): value for key, value in tensors.items()}
