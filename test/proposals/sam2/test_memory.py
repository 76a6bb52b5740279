"""Things followed by the network's own memory: transformers' own session, births and ends, bounds."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest
import torch
from core_fixtures import ColourEncoder
from sam2_fixtures import CONFIGS, SIDE, library_says, tiny_options, tiny_sam2
from sam_fixtures import picture

from ovseg_ros.core.frame import Frame, Hints, Proposals
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.segmenter import OpenVocabularySegmenter
from ovseg_ros.core.tracking import TrackOptions, VideoSegmenter
from ovseg_ros.errors import ConfigError
from ovseg_ros.models.sam2 import build_sam2
from ovseg_ros.proposals.sam2.proposer import Sam2Proposals

KINDS = ["sam2_video", "edgetam_video"]
ANYTHING = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0}
LEFT, RIGHT = (4, 20, 36, 60), (50, 30, 76, 90)


class Rectangles:
    """Finds in the next frame what it is told to."""

    needs_depth, classifies, grid_points = False, False, None
    now: tuple[tuple[int, int, int, int], ...] = ()

    def propose(self, frame: Frame, hints: Hints | None = None) -> Proposals:
        masks = torch.zeros((len(self.now), *frame.size_hw), dtype=torch.bool)
        for mask, (left, top, right, bottom) in zip(masks, self.now, strict=True):
            mask[top:bottom, left:right] = True
        return Proposals(masks, torch.linspace(0.9, 0.5, len(masks)))


class Camera:
    """A generator with memory on one camera's frames; what it finds beside it stays as it was found."""

    def __init__(self, kind: str = "sam2_video", **changes: Any) -> None:
        self.source, self.memory = Rectangles(), {}
        options = tiny_options(
            **{"video_memory": True, "points_per_side": 0, "least_agreement": 1.0, "duplicate_iou": 1.0}
            | ANYTHING
            | changes
        )
        self.proposals = Sam2Proposals(tiny_sam2(kind), options, boxes_from=self.source, check=False)

    def see(self, image: np.ndarray, *found: tuple[int, int, int, int]) -> Proposals:
        self.source.now = found
        return self.proposals.propose(Frame(image), Hints(memory=self.memory))

    @property
    def objects(self) -> list[Any]:
        return self.memory[self.proposals]._objects


def pictures(count: int) -> list[np.ndarray]:
    return [np.roll(picture(96, 80), 3 * n, axis=1) for n in range(count)]


def rectangle(box: tuple[int, int, int, int]) -> torch.Tensor:
    mask = torch.zeros(96, 80, dtype=torch.bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


class Library:
    """One thing followed by transformers alone: its processor, its session, its network, every frame kept."""

    def __init__(self, model: Any) -> None:
        from transformers import Sam2ImageProcessor, Sam2VideoProcessor, Sam2VideoVideoProcessor

        self.model = model
        self.processor = Sam2VideoProcessor(
            Sam2ImageProcessor(size={"height": SIDE, "width": SIDE}),
            Sam2VideoVideoProcessor(),
            target_size=SIDE,
        )
        self.session = self.processor.init_video_session()

    def see(self, image: np.ndarray, mask: torch.Tensor | None = None) -> torch.Tensor:
        """(H, W) bool."""
        inputs = self.processor(images=image, return_tensors="pt")
        if mask is not None:
            self.processor.add_inputs_to_inference_session(self.session, 0, 1, input_masks=mask)
        out = self.model(self.session, frame=inputs.pixel_values[0])
        return self.processor.post_process_masks([out.pred_masks], inputs.original_sizes)[0][0, 0]


@pytest.mark.parametrize("kind", KINDS)
def test_masks_are_those_of_transformers_own_session(kind):
    """Bit for bit, for longer than anything is kept; two things, begun in different frames."""
    camera, libraries, shown = Camera(kind, memory_lost_frames=99), {}, []
    for n, image in enumerate(pictures(20)):
        begins = {0: LEFT, 3: RIGHT}.get(n)
        ours = camera.see(image, *([begins] if begins else []))
        wanted = {number: library.see(image) for number, library in libraries.items()}
        if begins:
            number = len(libraries) + 1
            libraries[number] = Library(tiny_sam2(kind))
            libraries[number].see(image, rectangle(begins))
            wanted[number] = rectangle(begins)
        in_view = [number for number in sorted(wanted) if wanted[number].any()]
        assert ours.object_ids.tolist() == in_view, "each goes on under its number"
        shown += in_view
        for number, mask in zip(ours.object_ids.tolist(), ours.masks, strict=True):
            assert torch.equal(mask, wanted[number]), (n, number)
            assert 0 < float(mask.float().mean()) < 1
    assert {number: shown.count(number) > 9 for number in libraries} == {1: True, 2: True}


@pytest.mark.parametrize("kind", KINDS)
def test_prompts_are_answered_as_by_the_network_for_images(kind):
    model, image = tiny_sam2(kind), picture(96, 80)
    parts = ("model_type", "vision_config", "prompt_encoder_config", "mask_decoder_config")
    config = {name: CONFIGS[kind][name] for name in parts}
    alone = build_sam2(config)
    missing = alone.load_state_dict(model.state_dict(), strict=False).missing_keys
    assert not missing
    boxes = [[10.0, 10.0, 50.0, 60.0], [0.0, 0.0, 80.0, 96.0]]
    masks, _ = library_says(alone, image, multimask=False, input_boxes=boxes)
    proposals = Sam2Proposals(model, tiny_options(video_memory=True))
    ours = proposals.propose_at(Frame(image), boxes_xyxy=boxes, multimask="single")
    assert torch.equal(ours.masks, masks[:, 0])
    owned = {id(weight) for weight in proposals.network.video.parameters()}
    assert {id(weight) for weight in proposals.network.model.parameters()} <= owned, "held once"
    a_picture = proposals.propose(Frame(image))
    assert a_picture.object_ids is None
    assert torch.equal(a_picture.masks, Sam2Proposals(alone, tiny_options()).propose(Frame(image)).masks)


def test_the_image_is_encoded_once_however_many_things():
    camera, seen = Camera(), []
    camera.proposals.network.video.vision_encoder.register_forward_hook(lambda *_: seen.append(1))
    for n, image in enumerate(pictures(3)):
        camera.see(image, *((LEFT, RIGHT) if n == 0 else ()))
    assert len(seen) == 3


def test_what_is_remembered_is_not_begun_again_and_what_is_not_is():
    camera = Camera(least_agreement=0.5)
    first = camera.see(picture(96, 80), LEFT)
    assert first.object_ids.tolist() == [1]
    carried = camera.see(pictures(2)[1])
    assert carried.object_ids.tolist() == [1]
    again = Camera(least_agreement=0.5)
    again.see(picture(96, 80), LEFT)
    again.source.propose = lambda frame, hints=None: Proposals(carried.masks, torch.tensor([0.9]))
    assert again.see(pictures(2)[1]).object_ids.tolist() == [1], "covered by its own mask"


def gone(model: Any) -> list[bool]:
    """Has the network say that nothing is in view while the list's last entry is True."""
    switch = [False]

    def say(module: Any, given: Any, answer: Any) -> Any:
        return (*answer[:3], answer[3] - 1000) if switch[-1] else answer

    model.mask_decoder.register_forward_hook(say)
    return switch


def test_what_goes_out_of_view_comes_back_under_its_number_and_ends_after_that():
    camera = Camera(memory_lost_frames=3)
    switch = gone(camera.proposals.network.video)
    frames = iter(pictures(20))
    assert camera.see(next(frames), LEFT).object_ids.tolist() == [1]
    switch.append(True)
    assert [len(camera.see(next(frames))) for _ in range(2)] == [0, 0]
    switch.append(False)
    assert camera.see(next(frames)).object_ids.tolist() == [1]
    switch.append(True)
    for _ in range(3):
        camera.see(next(frames))
    assert not camera.objects
    switch.append(False)
    assert len(camera.see(next(frames))) == 0
    assert camera.see(next(frames), LEFT).object_ids.tolist() == [2], "no number is used again"


def test_only_so_many_things_are_remembered():
    camera = Camera(memory_objects=1, memory_lost_frames=1)
    switch = gone(camera.proposals.network.video)
    frames = iter(pictures(9))
    assert camera.see(next(frames), LEFT, RIGHT).object_ids.tolist() == [1, 0], "the surer one"
    assert camera.see(next(frames)).object_ids.tolist() == [1]
    switch.append(True)
    camera.see(next(frames))
    switch.append(False)
    assert camera.see(next(frames), RIGHT).object_ids.tolist() == [2], "there is room again"


def test_two_things_that_became_one_are_one():
    camera = Camera(duplicate_iou=0.01)
    assert camera.see(pictures(1)[0], LEFT, RIGHT).object_ids.tolist() == [1, 2]
    left = [camera.see(image).object_ids.tolist() for image in pictures(4)[1:]]
    assert len(left[-1]) == 1, "of two masks that overlap the better-scored goes on"
    assert [one.id for one in camera.objects] == left[-1]


def test_cameras_are_remembered_apart_and_an_empty_memory_begins_anew():
    camera, other = Camera(), Camera()
    other.proposals, other.source = camera.proposals, camera.source
    frames = pictures(6)
    camera.see(frames[0], LEFT)
    other.see(frames[3], RIGHT)
    turns = [(camera.see(frames[n]), other.see(frames[3 + n])) for n in (1, 2)]
    alone = Camera()
    alone.see(frames[0], LEFT)
    for (ours, _), image in zip(turns, frames[1:3], strict=True):
        assert torch.equal(ours.masks, alone.see(image).masks), "the other camera changes nothing"
    assert not torch.equal(turns[-1][0].masks, turns[-1][1].masks)
    camera.memory.clear()
    assert len(camera.see(frames[3])) == 0
    assert camera.see(frames[4], LEFT).object_ids.tolist() == [1]


class Blind(ColourEncoder):
    """To it everything looks alike."""

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        return torch.ones_like(super().encode_regions(pixels, region_masks))


def test_track_ids_follow_the_memory():
    """Through the whole chain: what the network follows keeps its track, though its mask is elsewhere."""
    camera = Camera()
    segmenter = OpenVocabularySegmenter(camera.proposals, Blind(), SegmenterOptions(min_mask_pixels=1))
    by_numbers_alone = TrackOptions(scene_cut=-1.0, other_embedding=0.0, min_match=1.0, reach=1e-6)
    video = VideoSegmenter(segmenter, by_numbers_alone)
    told, propose = [], camera.proposals.propose
    camera.proposals.propose = lambda *given: told.append(propose(*given)) or told[-1]
    tracks, seen = {}, []
    for n, image in enumerate(pictures(6)):
        camera.source.now = () if n else (LEFT, RIGHT)
        embedded = video.embed(Frame(image, stamp_ns=(n + 1) * 10**8))
        pairs = dict(zip(told[-1].object_ids.tolist(), embedded.track_ids.tolist(), strict=True))
        assert all(tracks.setdefault(number, track) == track for number, track in pairs.items() if number)
        seen += [number for number in pairs if number]
    assert len(tracks) >= 2
    assert seen.count(1) == 6, "and the first was in view all the time"
    video.reset()
    camera.source.now = (LEFT,)
    assert video.embed(Frame(pictures(1)[0], stamp_ns=10**9)).track_ids.tolist() == [max(tracks.values()) + 1]
    assert told[-1].object_ids.tolist() == [1], "of another memory"


def test_an_error_forgets_the_camera():
    camera = Camera()
    frames = pictures(3)
    camera.see(frames[0], LEFT)
    with pytest.raises(Exception, match="points_per_side"):
        camera.proposals.propose(Frame(frames[1]), Hints(points_per_side=-1, memory=camera.memory))
    assert not camera.memory
    assert len(camera.see(frames[2])) == 0


def tensors_in(value: Any) -> list[torch.Tensor]:
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        return [tensor for one in value.values() for tensor in tensors_in(one)]
    if isinstance(value, (list, tuple)):
        return [tensor for one in value for tensor in tensors_in(one)]
    return []


def test_memory_does_not_grow():
    """200 frames with new things all the time: what sessions hold, and all tensors that there are."""
    camera = Camera(memory_objects=2, memory_lost_frames=2)
    switch = gone(camera.proposals.network.video)
    held, alive, begun = [], [], 0
    for n, image in enumerate(pictures(200)):
        switch.append(n % 50 in (48, 49))  # all things end
        begun = max([begun, *camera.see(image, LEFT, RIGHT).object_ids.tolist()])
        sessions = [vars(one.session) for one in camera.objects]
        held.append(sum(t.untyped_storage().nbytes() for s in sessions for t in tensors_in(s)))
        assert all(s["processed_frames"] is None and not s["cache"]._vision_features for s in sessions)
        if n in (40, 190):
            gc.collect()
            alive.append(sum(isinstance(thing, torch.Tensor) for thing in gc.get_objects()))
    assert begun >= 6
    assert len(camera.objects) <= 2
    assert max(held[150:]) == max(held[:50]) > 0
    assert alive[1] <= alive[0]


@pytest.mark.parametrize("kind", KINDS)
def test_16_bits_follow_too(kind):
    camera = Camera(kind, precision="bf16")
    frames = pictures(4)
    camera.see(frames[0], LEFT)
    later = [camera.see(image) for image in frames[1:]]
    assert [one.object_ids.tolist() for one in later] == [[1]] * 3
    assert all(one.scores.dtype == torch.float32 for one in later)


def test_a_network_without_memory_is_refused_with_the_cure():
    with pytest.raises(
        ConfigError, match="expected a whole network for video beside video_memory, got a Sam2Model"
    ):
        Sam2Proposals(tiny_sam2(), tiny_options(video_memory=True))
    with pytest.raises(ConfigError, match="expected video_memory true or false, got 'yes'"):
        tiny_options(video_memory="yes")
    with pytest.raises(ConfigError, match="expected memory_objects as a whole number >= 1, got 0"):
        tiny_options(memory_objects=0)
    with pytest.raises(ConfigError, match="model_type of sam2_video, edgetam_video and"):
        build_sam2(CONFIGS["sam2"], memory=True)
