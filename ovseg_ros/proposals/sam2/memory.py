"""What SAM 2.1 and EdgeTAM remember of the things in one camera's video: a bounded number, each bounded.

Each thing has a session of transformers' own (`Sam2VideoInferenceSession`) to itself, so that it may begin
and end in any frame; the image's features are computed once and lent to all of them.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

import torch

from ovseg_ros.core.frame import Proposals
from ovseg_ros.proposals.sam2.candidates import Candidates, made
from ovseg_ros.proposals.sam2.masks import stability
from ovseg_ros.proposals.sam2.network import CUT, Features, Sam2Network
from ovseg_ros.proposals.sam2.options import Sam2Options

_OF_A_MASK = ("maskmem_features", "maskmem_pos_enc")


@dataclass
class _Object:
    """One thing.

    Attributes:
        id: 1 and up, never used again by this memory.
        session: transformers' own, in which it is the only object.
        lost: frames in a row that did not show it.
    """

    id: int
    session: Any
    lost: int = 0


class ObjectMemory:
    """The things that are followed in the frames of one camera: `carry`, then `numbered`, once per frame.

    Of a thing it keeps the frame in which it began, what its last `num_maskmem` masks looked like, and a
    vector of each of the last `max_object_pointers_in_encoder` frames: all that the network ever asks for.
    """

    def __init__(self, network: Sam2Network, options: Sam2Options) -> None:
        """Remembers nothing yet.

        Args:
            network: of a whole network for video.
            options: `memory_objects`, `memory_lost_frames` and what a stable mask is count.
        """
        self._network, self._options = network, options
        self._frame, self._ids = -1, itertools.count(1)
        self._objects: list[_Object] = []

    def carry(self, features: Features) -> Candidates:
        """Finds all things again in the next frame; forgets those that have not been in view for long.

        Args:
            features: of the frame's image.

        Returns:
            Those in view, by when they began: the network says that they are there, and their masks are
            stable. Scores are how sure it is of that, times the stability.
        """
        self._frame += 1
        device, side, options = self._network.device, self._network.side // 4, self._options
        parts = [self._step(one, features) for one in self._objects]
        logits = torch.stack([torch.zeros(side, side, device=device), *(part for part, _ in parts)])[1:]
        presence = torch.stack([torch.zeros((), device=device), *(part for _, part in parts)])[1:]
        stable = stability(logits, CUT, options.stability_score_offset)
        in_view = (presence > 0.5) & (logits > CUT).flatten(1).any(dim=1)
        in_view &= (stable > options.stability_score_thresh) | (options.stability_score_thresh == 0)
        ids = torch.tensor([one.id for one in self._objects], dtype=torch.int64, device=device)
        for one, is_seen in zip(self._objects, in_view.tolist(), strict=True):
            one.lost = 0 if is_seen else one.lost + 1
        self._objects = [one for one in self._objects if one.lost < options.memory_lost_frames]
        return replace(made(logits, presence * stable, CUT), ids=ids).take(in_view)

    def numbered(self, features: Features, proposals: Proposals) -> Proposals:
        """Gives the frame's masks their numbers: what is new begins, and what was left out ends.

        Args:
            features: of the frame's image.
            proposals: N masks, on the device; `object_ids` of those that came from `carry`, 0 of others.

        Returns:
            The same with the numbers of those that are remembered from now on: the best-scored, while there
            is room. What the network does not see in its own mask, as that is too thin for its grid, is not.
        """
        assert proposals.object_ids is not None, "of `carry`"
        ids = proposals.object_ids.clone()
        stays = set(ids.tolist())
        self._objects = [one for one in self._objects if one.lost or one.id in stays]  # two may become one
        room = self._options.memory_objects - len(self._objects)
        new = (ids == 0).nonzero()[:, 0]
        for n in new[proposals.scores[new].argsort(descending=True, stable=True)[:room]].tolist():
            one = _Object(next(self._ids), self._network.new_session(self._frame, proposals.masks[n]))
            _, presence = self._step(one, features)
            if presence > 0.5:
                ids[n] = one.id
                self._objects.append(one)
        return replace(proposals, object_ids=ids)

    def _step(self, one: _Object, features: Features) -> tuple[torch.Tensor, torch.Tensor]:
        """(h, w) logits of a thing in the frame, and () how sure it is there."""
        logits, presence = self._network.step(one.session, self._frame, features)
        self._trim(one.session)
        return logits, presence

    def _trim(self, session: Any) -> None:
        """Drops what no later frame asks for; transformers keeps everything."""
        config = self._network.video.config
        oldest_mask = self._frame - config.num_maskmem + 2  # the next frame asks for num_maskmem - 1
        oldest = self._frame - config.max_object_pointers_in_encoder + 2
        session.processed_frames = None
        session.cache.clear_all()
        session.mask_inputs_per_obj[0].clear()
        session.frames_tracked_per_obj[0].clear()
        stored = session.output_dict_per_obj[0]
        later = stored["non_cond_frame_outputs"]
        for at in [at for at in later if at < oldest]:
            del later[at]
        for output in (*stored["cond_frame_outputs"].values(), *later.values()):
            for name in ("high_res_masks", "pred_masks"):
                output.pop(name, None)
        for at, output in later.items():
            if at < oldest_mask:
                for name in _OF_A_MASK:
                    output.pop(name, None)
