"""Times Segment Anything on a video, full grids against tracks' boxes with a sparse grid, stage by stage.

Writes out/benchmark/sam_video.json. Networks have random weights, which cost as much as any; but how many
masks pass the thresholds, and so what comes after the decoder, does depend on them. So the decoder runs, and
its answers are then replaced by those of a made-up scene of round things: a prompt on a thing gets the thing,
its middle and its surroundings, rated well; any other prompt gets masks that are rated low. Drawing these is
not counted. The ways take turns; times are processor time, medians over the rounds.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ovseg_ros.core.frame import Frame, Hints, Proposals
from ovseg_ros.models.sam import build_sam
from ovseg_ros.proposals.sam import SamOptions, SamProposals

ROOT = Path(__file__).resolve().parents[1]
VIT_B: dict[str, Any] = {"embed_dim": 768, "depth": 12, "heads": 12, "global_attn_indexes": [2, 5, 8, 11]}
GRIDS = (16, 32)
TRACKS = (8, 32)
STAGES = ("encoder", "decoder", "rest")
SIZE_HW = (480, 640)
PARTS = (1.0, 0.6, 1.5)
"""Radii of the three answers over that of the thing."""


class Things:
    """Round things on an image, none touching another.

    Attributes:
        centres: (T, 2) x, y in pixels.
        radii: (T,) in pixels.
    """

    def __init__(self, count: int, size_hw: tuple[int, int] = SIZE_HW) -> None:
        height, width = size_hw
        columns = math.ceil(math.sqrt(count * width / height))
        rows = math.ceil(count / columns)
        rng = np.random.default_rng(count)
        cell = min(width / columns, height / rows)
        at = np.array([((i % columns) + 0.5, (i // columns) + 0.5) for i in range(count)])
        self.radii = rng.uniform(0.25, 0.33, count) * cell
        self.centres = at * (width / columns, height / rows) + rng.uniform(-0.1, 0.1, (count, 2)) * cell

    def boxes_xyxy(self) -> torch.Tensor:
        """(T, 4) as tracks would have them: a few pixels off."""
        off = np.random.default_rng(0).uniform(-3, 3, (len(self.radii), 4))
        radii = self.radii[:, None]
        return torch.from_numpy(np.hstack([self.centres - radii, self.centres + radii]) + off)

    def hit(self, points_xy: torch.Tensor) -> torch.Tensor:
        """(P, 2) pixels -> (P,) the thing each point lies on, -1 off all."""
        centres = torch.from_numpy(self.centres).to(points_xy)
        far = torch.cdist(points_xy, centres) / torch.from_numpy(self.radii).to(points_xy)  # (P,T)
        nearest = far.min(dim=1)
        return torch.where(nearest.values <= 1, nearest.indices, -1)


class Scene(torch.nn.Module):
    """A mask decoder whose answers are a scene's; the clock notes what the real one inside takes."""

    def __init__(self, sam: Any, things: Things, clock: Clock, size_hw: tuple[int, int]) -> None:
        super().__init__()
        self.decoder, self.things, self.clock = sam.mask_decoder, things, clock
        side = sam.image_encoder.img_size
        self.scale = side / max(size_hw)  # pixels of the image -> of the network's input
        y, x = torch.meshgrid(*2 * [(torch.arange(side // 4) + 0.5) * 4 / self.scale], indexing="ij")
        logits = []
        for (cx, cy), radius in zip(things.centres, things.radii, strict=True):
            far = torch.hypot(x - cx, y - cy)
            logits.append(10 * torch.stack([radius * part - far for part in PARTS]))  # steep: stable masks
        self.logits = torch.stack(logits)  # (T,3,h,w)
        self.prompts = torch.zeros(0, 2)
        sam.prompt_encoder.register_forward_pre_hook(self._note, with_kwargs=True)

    def _note(self, _: Any, args: Any, keywords: dict[str, Any]) -> None:
        """Where the prompts that come next are, in pixels of the image."""
        if keywords.get("boxes") is not None:
            self.prompts = keywords["boxes"].reshape(-1, 2, 2).mean(dim=1) / self.scale
        else:
            self.prompts = keywords["points"][0][:, 0] / self.scale

    def forward(self, *args: Any, **keywords: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """The real decoder's cost, the scene's answers."""
        self.clock.time("decoder", lambda: self.decoder(*args, **keywords))
        self.clock.prompts += len(self.prompts)
        return self.clock.time("drawing", lambda: self._answers(keywords["multimask_output"]))

    def _answers(self, multimask: bool) -> tuple[torch.Tensor, torch.Tensor]:
        masks = 3 if multimask else 1
        found = self.things.hit(self.prompts.float())
        on = found >= 0
        logits = self.logits[found.clamp(min=0), :masks]
        scores = torch.where(on[:, None], torch.tensor([0.98, 0.94, 0.9])[:masks], 0.5)
        return logits, scores


class Clock:
    """Processor seconds of the stages of one call."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.prompts = 0

    def time(self, stage: str, work: Callable[[], Any]) -> Any:
        """Does the work; its time goes to the stage."""
        start = time.process_time()
        result = work()
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.process_time() - start
        return result

    def watch(self, stage: str, module: torch.nn.Module) -> None:
        """The module's calls go to the stage from now on."""
        started: list[float] = []
        module.register_forward_pre_hook(lambda *_: started.append(time.process_time()))
        module.register_forward_hook(
            lambda *_: self.seconds.__setitem__(
                stage, self.seconds.get(stage, 0.0) + time.process_time() - started.pop()
            )
        )


def one_call(proposer: SamProposals, clock: Clock, call: Callable[[], Proposals]) -> dict[str, float]:
    """Seconds per stage of one call on a frame not seen before, how many prompts, and how many masks."""
    clock.seconds, clock.prompts = {}, 0
    start = time.process_time()
    masks = len(call())
    spent = time.process_time() - start - clock.seconds.get("drawing", 0.0)
    encoder, decoder = clock.seconds.get("encoder", 0.0), clock.seconds.get("decoder", 0.0)
    return {
        "total": spent,
        "encoder": encoder,
        "decoder": decoder,
        "rest": spent - encoder - decoder,
        "prompts": clock.prompts,
        "masks": masks,
    }


def measure(
    shape: dict[str, Any],
    tracks: int,
    rounds: int,
    size_hw: tuple[int, int] = SIZE_HW,
    grids: tuple[int, ...] = GRIDS,
) -> dict[str, dict[str, float]]:
    """Full grids and the video's prompts on the same scene, in turn.

    Returns:
        way -> median of each stage in seconds, of the whole, prompts and masks, and the median of the
        rounds' ratios of the first grid's time to this way's.
    """
    torch.manual_seed(0)
    sam = build_sam(shape).requires_grad_(False)
    clock, things = Clock(), Things(tracks, size_hw)
    clock.watch("encoder", sam.image_encoder)
    sam.mask_decoder = Scene(sam, things, clock, size_hw)
    proposer = SamProposals(sam, SamOptions())
    image = np.random.default_rng(0).integers(0, 255, (*size_hw, 3), dtype=np.uint8)
    boxes = things.boxes_xyxy()
    ways: dict[str, Callable[[], Proposals]] = {
        f"grid {n}x{n}": lambda n=n: proposer.propose(Frame(image), Hints(points_per_side=n))  # type: ignore[misc]
        for n in grids
    }
    sparse = proposer.options.video_points_per_side
    ways[f"{tracks} boxes, grid {sparse}x{sparse}"] = lambda: proposer.propose_video(Frame(image), boxes)
    found: dict[str, list[dict[str, float]]] = {way: [] for way in ways}
    for i in range(rounds):
        for way in list(ways) if i % 2 == 0 else list(ways)[::-1]:
            found[way].append(one_call(proposer, clock, ways[way]))
    first = [call["total"] for call in found[f"grid {grids[0]}x{grids[0]}"]]
    return {
        way: {key: statistics.median(call[key] for call in calls) for key in calls[0]}
        | {"times_less": statistics.median(f / c["total"] for f, c in zip(first, calls, strict=True))}
        for way, calls in found.items()
    }


def table(rows: dict[str, dict[str, float]]) -> str:
    """For the terminal, and for docs/proposals.md."""
    lines = [
        f"| {way} | {row['prompts']:.0f} | {row['masks']:.0f} | "
        + " | ".join(f"{row[stage]:.2f} s" for stage in (*STAGES, "total"))
        + f" | {row['times_less']:.2f} |"
        for way, row in rows.items()
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--image-size", type=int, default=512, help="of the network's input")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--tracks", type=int, nargs="+", default=list(TRACKS))
    parser.add_argument("--grids", type=int, nargs="+", default=list(GRIDS))
    parser.add_argument("--out", type=Path, default=ROOT / "out" / "benchmark" / "sam_video.json")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    shape = VIT_B | {"image_size": arguments.image_size}
    print(f"SAM ViT-B at {arguments.image_size}, frames of {SIZE_HW[1]}x{SIZE_HW[0]}, processor time")
    print(f"| way | prompts | masks | {' | '.join(STAGES)} | whole | times less than the first |")
    rows = {}
    for tracks in arguments.tracks:
        rows[tracks] = measure(shape, tracks, arguments.rounds, grids=tuple(arguments.grids))
        print(f"{tracks} things\n{table(rows[tracks])}", flush=True)
    report = {
        "machine": {"processor": platform.processor(), "torch": torch.__version__},
        "image_size": arguments.image_size,
        "rounds": arguments.rounds,
        "tracks": rows,
    }
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
