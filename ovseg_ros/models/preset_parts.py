"""What a preset may name: the kinds of proposal generators and encoders, and how each is built.

Each kind has its keys, its builder, and, where it has options, the dataclass they are checked against before
anything is loaded. Networks are imported by the builder that needs them.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ovseg_ros.core.frame import Proposer, RegionEncoder
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.downloads.download import resolve_file
from ovseg_ros.models.downloads.files import find_file
from ovseg_ros.models.yaml_files import check_keys, from_mapping

if TYPE_CHECKING:
    import torch

    from ovseg_ros.core.encoders import AccelerateOptions


@dataclass(frozen=True)
class LoadContext:
    """Where a preset is read from, where its files may be, and where its networks shall run.

    Attributes:
        preset: the preset's file; paths in it are relative to its folder.
        device: of the networks.
        weights_dir: the user's folder of weights, or None.
        offline: False allows downloading what is missing.
    """

    preset: Path
    device: torch.device
    weights_dir: Path | None
    offline: bool

    def file(self, name: str) -> Path:
        """The verified file of that name; see `models.downloads.download.resolve_file`.

        Raises:
            WeightsError: missing or not the expected one; names the cure.
        """
        return resolve_file(
            str(name), weights_dir=self.weights_dir, beside=self.preset.parent, offline=self.offline
        )

    def own(self, part: Mapping[str, Any], name: str) -> Path | None:
        """What a bundled model takes instead of its own file: `weights`, or one in `weights_dir`."""
        if part.get("weights") is not None:
            return self.file(part["weights"])
        return None if self.weights_dir is None else find_file(name, beside=self.weights_dir / ".")


@dataclass(frozen=True)
class ComponentSpec:
    """One kind of part.

    Attributes:
        build: makes it from the preset's part.
        needs: keys that must be there beside `kind`.
        takes: keys that may be there.
        options: module and name of the dataclass of its `options`, "" where it has none.
        files: keys that name weights files.
        runtime: whether its options say by what its network is run.
    """

    build: Callable[[LoadContext, Mapping[str, Any]], Any]
    needs: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
    options: str = ""
    files: tuple[str, ...] = ("weights",)
    runtime: bool = False


def check_part(
    path: Path, what: str, part: object, kinds: Mapping[str, ComponentSpec], *, options: bool = True
) -> None:
    """Checks a part's keys, kind and options, without loading anything.

    Args:
        path: the preset's file, for messages.
        what: the part, for messages.
        part: from the file.
        kinds: that there are.
        options: False leaves the part's options for later: to know them, torch is imported.

    Raises:
        ConfigError: names the file, what was wanted and what came.
    """
    if not isinstance(part, Mapping):
        raise ConfigError(f"{path}: expected {what} as key: value pairs, got {part!r}")
    name = part.get("kind")
    if not isinstance(name, str) or name not in kinds:
        raise ConfigError(f"{path}: expected {what} kind one of {', '.join(sorted(kinds))}, got {name!r}")
    spec = kinds[name]
    known = {"kind", *spec.needs, *spec.takes, *(["options"] if spec.options else [])}
    check_keys(path, f"{what} {name}", part, known)
    missing = [key for key in spec.needs if part.get(key) is None]
    if missing:
        raise ConfigError(f"{path}: {what} {name} needs {', '.join(missing)}")
    for key in spec.files:
        if part.get(key) is not None and not isinstance(part[key], str):
            raise ConfigError(f"{path}: expected {key} as a file name, got {part[key]!r}")
    if options and spec.options:
        _options(path, part, spec)
    if part.get("members") is not None:
        members = part["members"]
        if not isinstance(members, Sequence) or isinstance(members, str) or not members:
            raise ConfigError(f"{path}: expected members as a list of proposers, got {members!r}")
        for member in members:
            check_part(path, f"{name} member", member, kinds, options=options)
    if name == "sam2" and part.get("boxes_from") is not None:
        check_part(path, "boxes_from", part["boxes_from"], kinds, options=options)
    if any(within["kind"] == "sam3" for within in parts_within(part)):
        raise ConfigError(f"{path}: sam3 finds masks by words and is no member of {name}; take it alone")


def parts_within(part: Mapping[str, Any]) -> tuple[Mapping[str, Any], ...]:
    """The proposer parts inside a checked one: a union's members, the one that boxes come from."""
    boxes_from = part.get("boxes_from")
    return (*part.get("members", ()), *(() if boxes_from is None else (boxes_from,)))


def needs_depth(proposer: Mapping[str, Any]) -> bool:
    """Whether a checked proposer part can do nothing with colour alone; see `Proposer.needs_depth`."""
    if proposer["kind"] == "sam2":
        has_grid = (proposer.get("options") or {}).get("points_per_side", 1) > 0
        return not has_grid and any(map(needs_depth, parts_within(proposer)))
    if proposer["kind"] != "union":
        return bool(proposer["kind"] == "depth_clusters")
    needs = [needs_depth(member) for member in proposer["members"]]
    return all(needs) if (proposer.get("options") or {}).get("skip_without_depth", True) else any(needs)


def uses_sam(proposer: Mapping[str, Any]) -> bool:
    """Whether a checked proposer part asks a Segment Anything a grid of points, or has one that does."""
    is_grid = proposer["kind"] == "sam" or (proposer["kind"] == "sam2" and not proposer.get("boxes_from"))
    return is_grid or any(map(uses_sam, parts_within(proposer)))


def weights_named(part: Mapping[str, Any], kinds: Mapping[str, ComponentSpec]) -> tuple[str, ...]:
    """The names of the weights files a checked part needs, without those of bundled models."""
    names = [part[key] for key in kinds[part["kind"]].files if part.get(key) is not None]
    for inner in parts_within(part):
        names += weights_named(inner, kinds)
    return tuple(names)


def with_runtime(
    part: Mapping[str, Any], kinds: Mapping[str, ComponentSpec], runtime: str
) -> Mapping[str, Any]:
    """A checked part with that `runtime` among its options, and those of parts within, where there is one."""
    changed = dict(part)
    if kinds[part["kind"]].runtime:
        changed["options"] = {**(part.get("options") or {}), "runtime": runtime}
    if "members" in part:
        changed["members"] = [with_runtime(member, kinds, runtime) for member in part["members"]]
    if part.get("boxes_from") is not None:
        changed["boxes_from"] = with_runtime(part["boxes_from"], kinds, runtime)
    return changed


def build(context: LoadContext, part: Mapping[str, Any], kinds: Mapping[str, ComponentSpec]) -> Any:
    """Builds a checked part, its weights loaded and verified.

    Raises:
        ConfigError: an architecture that cannot be.
        WeightsError: weights missing or not the expected ones; names the cure.
    """
    return kinds[part["kind"]].build(context, part)


def encoder_options(path: Path, part: Mapping[str, Any]) -> AccelerateOptions | None:
    """How a checked encoder part wants its image tower run; None where it does not say."""
    if not ENCODERS[part["kind"]].options:
        return None
    options: AccelerateOptions = _options(path, part, ENCODERS[part["kind"]])
    return options if part.get("options") else None


def _options(path: Path, part: Mapping[str, Any], spec: ComponentSpec) -> Any:
    module, _, name = spec.options.rpartition(".")
    return from_mapping(path, getattr(importlib.import_module(module), name), part.get("options") or {})


def _elsewhere(options: Any) -> dict[str, Any]:
    """Where programs of a proposal network are kept, and the photographs that they are checked on."""
    from ovseg_ros.models.engines import engine_parts
    from ovseg_ros.proposals.agreement import PHOTOGRAPHS

    store, pictures = engine_parts(options.runtime)
    return {"store": store, "pictures": pictures[:PHOTOGRAPHS]}


def _depth_clusters(context: LoadContext, part: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.proposals.depth.depth_clusters import DepthClusters

    return DepthClusters(_options(context.preset, part, PROPOSERS["depth_clusters"]))


def _colour_masks(context: LoadContext, part: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.models.bundled.colour_masks import FILE, WEIGHTS_FOLDER, load_colour_masks
    from ovseg_ros.proposals.colour import ColourMasks

    options = _options(context.preset, part, PROPOSERS["colour_masks"])
    backbone, network = load_colour_masks(context.own(part, FILE) or WEIGHTS_FOLDER / FILE)
    return ColourMasks(backbone, network, options, context.device, **_elsewhere(options))


def _sam(context: LoadContext, part: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.models.sam import load_sam
    from ovseg_ros.proposals.sam.proposer import SamProposals

    options = _options(context.preset, part, PROPOSERS["sam"])
    network = load_sam(part["model"], context.file(part["weights"]))
    return SamProposals(network, options, context.device, **_elsewhere(options))


def _sam2(context: LoadContext, part: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.models.sam2 import load_sam2
    from ovseg_ros.proposals.sam2.proposer import Sam2Proposals

    options = _options(context.preset, part, PROPOSERS["sam2"])
    network = load_sam2(
        context.file(part["weights"]), part.get("model"), options.image_size, memory=options.video_memory
    )
    boxes_from = part.get("boxes_from")
    other = None if boxes_from is None else build(context, boxes_from, PROPOSERS)
    return Sam2Proposals(network, options, context.device, boxes_from=other, **_elsewhere(options))


def _maskformer(context: LoadContext, part: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.models.maskformer.public import load_public_maskformer
    from ovseg_ros.proposals.maskformer import MaskFormerProposals

    options = _options(context.preset, part, PROPOSERS["maskformer"])
    weights = context.file(part["weights"])
    network = load_public_maskformer(weights.parent, weights)
    return MaskFormerProposals(network, options, context.device, **_elsewhere(options))


def _ovseg_maskformer(context: LoadContext, part: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.models.maskformer.network import load_ovseg_maskformer
    from ovseg_ros.proposals.maskformer import MaskFormerProposals

    options = _options(context.preset, part, PROPOSERS["ovseg_maskformer"])
    network = load_ovseg_maskformer(
        part["model"], context.file(part["weights"]), context.file(part["non_object"])
    )
    return MaskFormerProposals(network, options, context.device, **_elsewhere(options))


def _union(context: LoadContext, part: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.proposals.union import UnionProposals

    members = [build(context, member, PROPOSERS) for member in part["members"]]
    return UnionProposals(members, _options(context.preset, part, PROPOSERS["union"]))


def _owlv2(context: LoadContext, part: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.models.onestage.owlv2 import load_owlv2_boxes
    from ovseg_ros.proposals.boxes import BoxProposals
    from ovseg_ros.proposals.union import UnionProposals

    options = _options(context.preset, part, PROPOSERS["owlv2"])
    members = [build(context, member, PROPOSERS) for member in part.get("members") or ()]
    network = load_owlv2_boxes(context.file(part["weights"]), part.get("model"))
    return BoxProposals(network, options, context.device, UnionProposals(members) if members else None)


def _owlv2_words(context: LoadContext, part: Mapping[str, Any]) -> RegionEncoder:
    from ovseg_ros.models.onestage.owlv2 import load_owlv2_words

    return load_owlv2_words(context.file(part["weights"]), part.get("model"))


def _sam3(context: LoadContext, part: Mapping[str, Any]) -> Proposer:
    from ovseg_ros.models.onestage.sam3 import load_sam3_network
    from ovseg_ros.proposals.concepts import ConceptProposals

    options = _options(context.preset, part, PROPOSERS["sam3"])
    network = load_sam3_network(context.file(part["weights"]), part.get("model"))
    return ConceptProposals(network, options, context.device)


def _sam3_words(context: LoadContext, part: Mapping[str, Any]) -> RegionEncoder:
    from ovseg_ros.models.onestage.sam3 import load_sam3_words

    return load_sam3_words(context.file(part["weights"]), part.get("model"))


def _mini(context: LoadContext, part: Mapping[str, Any]) -> RegionEncoder:
    from ovseg_ros.models.bundled.mini import WEIGHTS_FOLDER, load_mini

    prompts = part.get("prompts")
    return load_mini(
        context.own(part, "mini.safetensors") or WEIGHTS_FOLDER / "mini.safetensors",
        prompts=None if prompts is None else context.file(prompts),
    )


def _lite(context: LoadContext, part: Mapping[str, Any]) -> RegionEncoder:
    from ovseg_ros.models.bundled.lite import FILE, load_lite

    names = part.get("names")
    lite = load_lite(context.own(part, Path(FILE).name), None if names is None else context.file(names))
    if part.get("pooled_side") is not None:
        lite.pooled_side = part["pooled_side"]
    return lite


def _clip(context: LoadContext, part: Mapping[str, Any]) -> RegionEncoder:
    from ovseg_ros.core.encoders import PooledClip
    from ovseg_ros.models.clip import load_clip

    prompts, image, side = part.get("prompts"), part.get("image_weights"), part.get("pooled_side")
    tokenizer = part.get("tokenizer")
    clip = load_clip(
        part["model"],
        context.file(part["weights"]),
        image_weights=None if image is None else context.file(image),
        prompts=None if prompts is None else context.file(prompts),
        activation=part.get("activation", "auto"),
        tokenizer=None if tokenizer is None else context.file(tokenizer),
    )
    if isinstance(clip, PooledClip):
        clip.pooled_side = clip.pooled_side if side is None else side
    elif side is not None:
        raise ConfigError(
            f"{context.preset}: pooled_side is for a CLIP with a ConvNeXt or FastVit, such as "
            f"convnext_base_w, got {part['model']!r}; leave it out"
        )
    return clip


_MASKFORMER_OPTIONS = "ovseg_ros.proposals.maskformer.MaskFormerOptions"
PROPOSERS: Mapping[str, ComponentSpec] = {
    "depth_clusters": ComponentSpec(
        _depth_clusters, options="ovseg_ros.proposals.depth.depth_clusters.DepthClustersOptions"
    ),
    "colour_masks": ComponentSpec(
        _colour_masks,
        takes=("weights",),
        options="ovseg_ros.proposals.colour.ColourMasksOptions",
        runtime=True,
    ),
    "sam": ComponentSpec(
        _sam,
        needs=("model", "weights"),
        options="ovseg_ros.proposals.sam.options.SamOptions",
        runtime=True,
    ),
    "sam2": ComponentSpec(
        _sam2,
        needs=("weights",),
        takes=("model", "boxes_from"),
        options="ovseg_ros.proposals.sam2.options.Sam2Options",
        runtime=True,
    ),
    "maskformer": ComponentSpec(_maskformer, needs=("weights",), options=_MASKFORMER_OPTIONS, runtime=True),
    "ovseg_maskformer": ComponentSpec(
        _ovseg_maskformer,
        needs=("model", "weights", "non_object"),
        options=_MASKFORMER_OPTIONS,
        files=("weights", "non_object"),
        runtime=True,
    ),
    "owlv2": ComponentSpec(
        _owlv2,
        needs=("weights",),
        takes=("model", "members"),
        options="ovseg_ros.proposals.boxes.BoxOptions",
    ),
    "sam3": ComponentSpec(
        _sam3,
        needs=("weights",),
        takes=("model",),
        options="ovseg_ros.proposals.concepts.ConceptOptions",
    ),
    "union": ComponentSpec(
        _union, needs=("members",), options="ovseg_ros.proposals.union.UnionOptions", files=()
    ),
}
_ENCODER_OPTIONS = "ovseg_ros.core.encoders.accelerate.AccelerateOptions"
ENCODERS: Mapping[str, ComponentSpec] = {
    "mini": ComponentSpec(
        _mini,
        takes=("weights", "prompts"),
        options=_ENCODER_OPTIONS,
        files=("weights", "prompts"),
        runtime=True,
    ),
    "lite": ComponentSpec(
        _lite,
        takes=("weights", "names", "pooled_side"),
        options=_ENCODER_OPTIONS,
        files=("weights", "names"),
        runtime=True,
    ),
    "clip": ComponentSpec(
        _clip,
        needs=("model", "weights"),
        takes=("image_weights", "prompts", "activation", "pooled_side", "tokenizer"),
        options=_ENCODER_OPTIONS,
        files=("weights", "image_weights", "prompts", "tokenizer"),
        runtime=True,
    ),
    "owlv2": ComponentSpec(_owlv2_words, needs=("weights",), takes=("model",)),
    "sam3": ComponentSpec(_sam3_words, needs=("weights",), takes=("model",)),
}
