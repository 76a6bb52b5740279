"""Segment Anything within a budget: another grid, another input size, and the boxes of what is followed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from core_fixtures import tiny_clip, tiny_tokenizer
from sam_fixtures import LENIENT, TINY_SAM, library_says, picture, tiny_options, tiny_sam

from ovseg_ros.core.encoders.mask_clip import MaskPromptedClip
from ovseg_ros.core.frame import Frame, Hints, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.core.soft_masks import SoftMasks
from ovseg_ros.core.tracking.budget import Budget
from ovseg_ros.core.tracking.video import VideoSegmenter
from ovseg_ros.errors import ConfigError, InvalidInputError
from ovseg_ros.models.sam import build_sam
from ovseg_ros.proposals.sam.image_size import at_image_size
from ovseg_ros.proposals.sam.proposer import SamOptions, SamProposals
from ovseg_ros.proposals.sam.video import boxes_on_image, interleaved_grid, stability
from ovseg_ros.proposals.union import UnionOptions, UnionProposals

pytestmark = pytest.mark.usefixtures("one_thread")
HEIGHT, WIDTH = 96, 80
BOXES = torch.tensor([[5.0, 6.0, 40.0, 50.0], [30.0, 10.0, 75.0, 90.0], [20.5, 30.25, 70.0, 90.0]])


@pytest.fixture(scope="module")
def sam():
    return tiny_sam()


@pytest.fixture
def frame():
    return Frame(picture(HEIGHT, WIDTH))


@pytest.fixture
def calls(sam):
    """How many images were encoded, and the prompts decoded batch by batch."""
    seen = {"encoded": [], "decoded": []}
    hooks = [
        sam.image_encoder.register_forward_pre_hook(lambda _, args: seen["encoded"].append(args[0].shape)),
        sam.mask_decoder.register_forward_hook(lambda _, __, out: seen["decoded"].append(len(out[0]))),
    ]
    yield seen
    for hook in hooks:
        hook.remove()


# ---- the grid of one frame ----


def test_a_frame_may_have_another_grid(sam, frame, calls):
    proposer = SamProposals(sam, tiny_options())
    masks, scores = library_says(sam, frame.image_rgb, points_per_side=3)
    calls["decoded"].clear()
    got = proposer.propose(frame, Hints(points_per_side=3))
    assert calls["decoded"] == [9]
    assert np.array_equal(got.masks.numpy(), masks)
    assert np.allclose(got.scores, scores)
    calls["decoded"].clear()
    proposer.propose(frame)
    assert calls["decoded"] == [36]
    assert proposer.options == tiny_options()


def test_crop_layers_without_a_point_are_left_out(calls, sam, frame):
    settings = {"crop_n_layers": 2, "crop_n_points_downscale_factor": 2}
    proposer = SamProposals(sam, tiny_options(**settings))
    masks, _ = library_says(sam, frame.image_rgb, **{**settings, "crop_n_layers": 1, "points_per_side": 3})
    calls["encoded"].clear()
    got = proposer.propose(frame, Hints(points_per_side=3))
    assert len(calls["encoded"]) == 1 + 4
    assert np.array_equal(got.masks.numpy(), masks)


# ---- the input's size ----


@pytest.mark.parametrize("side", [32, 48, 128])
def test_another_input_size_is_the_network_built_for_it(sam, frame, calls, side):
    """With its positions scaled: the absolute ones here, the relative ones by the library."""
    grid = side // 16
    other, state = build_sam({**TINY_SAM, "image_size": side}), dict(sam.state_dict())
    position = state["image_encoder.pos_embed"].permute(0, 3, 1, 2)
    scaled = F.interpolate(position, size=(grid, grid), mode="bicubic").permute(0, 2, 3, 1)
    state["image_encoder.pos_embed"] = scaled
    for key, value in other.state_dict().items():
        if "rel_pos" in key and value.shape != state[key].shape:
            line = F.interpolate(state[key].T[None], size=len(value), mode="linear")
            state[key] = line[0].T
    other.load_state_dict(state)
    want = SamProposals(other, tiny_options()).propose(frame)
    got = SamProposals(sam, tiny_options(image_size=side)).propose(frame)
    assert calls["encoded"][-1:] == [] or calls["encoded"][-1] == (1, 3, side, side)
    assert len(want) >= 1
    assert got.masks.shape == want.masks.shape
    assert (got.masks != want.masks).float().mean() < 1e-3
    torch.testing.assert_close(got.scores, want.scores, atol=1e-4, rtol=0)
    at = SamProposals(sam, tiny_options(image_size=side)).propose_at(frame, boxes_xyxy=BOXES)
    assert at.soft.logits.shape == (3, 4 * grid, 4 * grid)
    assert (at.soft.probabilities((HEIGHT, WIDTH)) > 0.5).eq(at.masks).float().mean() > 0.98


def test_the_network_is_shared_and_left_as_it_was(sam, frame):
    before = SamProposals(sam, tiny_options()).propose(frame)
    small = at_image_size(sam, 32)
    assert small.image_encoder.img_size == 32
    assert small.image_encoder.blocks is sam.image_encoder.blocks
    assert small.mask_decoder is sam.mask_decoder
    assert sam.image_encoder.img_size == sam.prompt_encoder.input_image_size[0] == 64
    assert sam.image_encoder.pos_embed.shape == (1, 4, 4, 32)
    assert torch.equal(SamProposals(sam, tiny_options()).propose(frame).masks, before.masks)
    assert at_image_size(sam, 64) is at_image_size(sam, None) is sam


@pytest.mark.parametrize("side", [0, 8, 100])
def test_no_such_input_size(sam, side):
    with pytest.raises(ConfigError, match="image_size"):
        at_image_size(sam, side)
    with pytest.raises(ConfigError, match="image_size"):
        SamOptions(image_size=side)


# ---- video ----


def naive_video(sam, frame, boxes, grid, duplicate_iou):
    """The library's predictor on each box, its generator on the grid, then each pair of masks."""
    from segment_anything import SamPredictor

    predictor = SamPredictor(sam)
    predictor.set_image(frame.image_rgb)
    found = []
    for box in boxes.tolist():
        masks, scores, low = predictor.predict(box=np.array(box), multimask_output=False, return_logits=True)
        height, width = (-(-side // 4) for side in predictor.input_size)
        logits = low[0, :height, :width]
        offset = LENIENT["stability_score_offset"]
        steady = (logits > offset).sum() / max((logits > -offset).sum(), 1)
        sure = LENIENT["pred_iou_thresh"] <= 0 or scores[0] > LENIENT["pred_iou_thresh"]
        if sure and steady >= LENIENT["stability_score_thresh"]:
            found.append((masks[0] > 0, min(float(scores[0]), 1.0)))
    boxed = len(found)
    masks, scores = library_says(sam, frame.image_rgb, points_per_side=None, point_grids=[grid])
    found += list(zip(masks, scores.tolist(), strict=True))
    kept: list[int] = []
    for i in sorted(range(len(found)), key=lambda i: (-found[i][1], i)):
        mask = found[i][0]
        iou = [(mask & found[j][0]).sum() / (mask | found[j][0]).sum() for j in kept]
        if mask.any() and all(value < duplicate_iou for value in iou):
            kept.append(i)
    return [found[i] for i in sorted(kept)], boxed, len(found)


@pytest.mark.parametrize(
    ("seed", "duplicate_iou", "boxed"), [(2, 0.85, 3), (4, 0.5, 1), (6, 0.5, 3), (8, 0.85, 3), (8, 0.5, 3)]
)
def test_video_is_boxes_and_a_grid_without_duplicates(frame, monkeypatch, seed, duplicate_iou, boxed):
    monkeypatch.setitem(LENIENT, "pred_iou_thresh", 0.0)
    monkeypatch.setitem(LENIENT, "stability_score_thresh", 0.5)
    sam = tiny_sam(seed)
    proposer = SamProposals(
        sam, tiny_options(video_points_per_side=3, video_duplicate_iou=duplicate_iou, points_per_side=20)
    )
    got = proposer.propose_video(frame, BOXES)
    want, passed, found = naive_video(sam, frame, BOXES, interleaved_grid(3, 0), duplicate_iou)
    assert passed == boxed
    assert len(want) < found  # something was twice
    assert len(got) == len(want)
    for mask, score, (wanted, wanted_score) in zip(got.masks.numpy(), got.scores.tolist(), want, strict=True):
        assert np.mean(mask != wanted) < 1e-3
        assert score == pytest.approx(wanted_score, abs=1e-3)
    assert got.soft is None


def test_the_image_is_encoded_once(sam, frame, calls):
    proposer = SamProposals(sam, tiny_options(video_points_per_side=3))
    proposer.propose_video(frame, BOXES)
    assert len(calls["encoded"]) == 1
    assert calls["decoded"] == [3, 9]
    proposer.propose_at(frame, points_xy=[[3, 4]])  # not again for what is asked later
    assert len(calls["encoded"]) == 1


def test_four_frames_ask_a_grid_of_twice_as_many_points(sam, frame):
    from segment_anything.utils.amg import build_point_grid

    asked = []
    hook = sam.prompt_encoder.register_forward_pre_hook(
        lambda _, __, kwargs: asked.append(kwargs["points"][0][:, 0].clone()), with_kwargs=True
    )
    proposer = SamProposals(sam, tiny_options(video_points_per_side=2))
    for _ in range(5):
        proposer.propose_video(frame, torch.zeros(0, 4))
    hook.remove()
    assert [len(points) for points in asked] == [4] * 5
    side = torch.tensor([WIDTH, HEIGHT]) * 64 / HEIGHT  # in the network's input
    wanted = sorted(map(tuple, np.round(build_point_grid(4) * np.floor(side.numpy() + 0.5), 3).tolist()))
    together = torch.cat(asked[:4]).double().numpy()
    assert np.allclose(sorted(map(tuple, together.tolist())), wanted, atol=0.02)
    assert torch.equal(asked[4], asked[0])


@pytest.mark.parametrize(
    ("points", "decoded"), [(0, [3]), (2, [3, 4]), (3, [3, 9]), (30, [3, 9]), (None, [3, 9])]
)
def test_a_budget_lowers_the_grid_and_never_raises_it(sam, frame, calls, points, decoded):
    SamProposals(sam, tiny_options(video_points_per_side=3)).propose_video(
        frame, BOXES, points_per_side=points
    )
    assert calls["decoded"] == decoded


@pytest.mark.parametrize("points", [-1, 1.5, True])
def test_no_such_grid(sam, frame, points):
    with pytest.raises(InvalidInputError, match="expected points_per_side as a whole number >= 1"):
        SamProposals(sam).propose(frame, Hints(points_per_side=points))
    with pytest.raises(InvalidInputError, match="expected points_per_side as a whole number >= 0"):
        SamProposals(sam).propose_video(frame, BOXES, points_per_side=points)


def test_nothing_asked_gives_nothing_and_costs_nothing(sam, frame, calls):
    got = SamProposals(sam, tiny_options()).propose_video(frame, torch.zeros(0, 4), points_per_side=0)
    assert got.masks.shape == (0, HEIGHT, WIDTH)
    assert calls == {"encoded": [], "decoded": []}


def test_a_box_whose_thing_is_gone_falls_silent(sam, frame):
    strict = {"pred_iou_thresh": 1.0}, {"stability_score_thresh": 1.0, "stability_score_offset": 5.0}
    for settings in strict:
        proposer = SamProposals(sam, tiny_options(**settings))
        assert len(proposer.propose_video(frame, BOXES, points_per_side=0)) == 0
    lenient = {"pred_iou_thresh": 0.0, "stability_score_thresh": 0.0, "video_duplicate_iou": 1.0}
    assert len(SamProposals(sam, tiny_options(**lenient)).propose_video(frame, BOXES, points_per_side=0)) == 3


def test_boxes_are_cut_to_the_image():
    boxes = torch.tensor(
        [[-5, -5, 10, 10], [70, 90, 200, 200], [-9, 3, -1, 9], [90, 5, 99, 9], [3, 3, 3.5, 9], [5, 6, 7, 8]]
    )
    got = boxes_on_image(boxes, (HEIGHT, WIDTH))
    assert got.tolist() == [[0, 0, 10, 10], [70, 90, 80, 96], [5, 6, 7, 8]]
    broken = torch.tensor([[0.0, 0.0, float("nan"), 5.0], [0.0, 0.0, float("inf"), 5.0]])
    assert boxes_on_image(broken, (HEIGHT, WIDTH)).shape == (0, 4)


@pytest.mark.parametrize("boxes", [torch.zeros(4), torch.zeros(2, 5), torch.zeros(1, 2, 4)])
def test_boxes_of_another_shape_are_refused(sam, frame, boxes):
    with pytest.raises(InvalidInputError, match=r"expected boxes_xyxy \(M,4\)"):
        SamProposals(sam).propose_video(frame, boxes)


def test_so_many_boxes_that_their_masks_do_not_fit(sam, frame, calls):
    proposer = SamProposals(sam, tiny_options(max_mask_pixels=2 * HEIGHT * WIDTH))
    proposer.propose_video(frame, BOXES, points_per_side=0)
    assert calls["decoded"] == [2]


def test_stability_is_counted_cell_by_cell():
    logits = torch.randn(4, 16, 16, generator=torch.Generator().manual_seed(0))
    logits[3] = -9.0
    got = stability(SoftMasks(logits, (64, 64), (64, 50)), 0.1, 0.4)
    want = []
    for mask in logits[:, :, :13].tolist():
        high = sum(value > 0.5 for row in mask for value in row)
        low = sum(value > 0.1 - 0.4 for row in mask for value in row)
        want.append(high / low if low else 0.0)
    assert got.tolist() == pytest.approx(want)
    assert want[3] == 0.0


def test_video_in_the_chain(sam, calls):
    """The first frame has the full grid, the next the boxes of its tracks; a budget reaches either."""
    masks_of = SamProposals(sam, tiny_options(video_points_per_side=2, points_per_side=6))
    chain = VideoSegmenter(
        OpenVocabularySegmenter(
            masks_of, MaskPromptedClip(tiny_clip(), tiny_tokenizer), SegmenterOptions(min_mask_pixels=1)
        )
    )
    image = picture(HEIGHT, WIDTH)
    decoded = []
    for i, budget in enumerate((Budget(points_per_side=5), None, Budget(points_per_side=1))):
        calls["decoded"].clear()
        embedded = chain.embed(Frame(image, stamp_ns=(i + 1) * 33_000_000, frame_id="cam"), None, budget)
        decoded.append(list(calls["decoded"]))
    followed = decoded[1][0]
    assert followed >= 1
    assert decoded[0] == [25]
    assert decoded[1] == [followed, 4]
    assert decoded[2][1] == 1
    assert (embedded.track_ids > 0).any()
    assert len(calls["encoded"]) == 3


# ---- in a union ----


class Still:
    """A generator without grid and without video."""

    def propose(self, frame: Frame) -> Proposals:
        mask = torch.zeros(1, *frame.size_hw, dtype=torch.bool)
        mask[0, :5, :5] = True
        return Proposals(mask, torch.ones(1))


def test_a_union_hands_boxes_and_points_on(sam, frame, calls):
    member = SamProposals(sam, tiny_options(video_points_per_side=3))
    union = UnionProposals([Still(), member], UnionOptions(duplicate_iou=1.0))
    got = union.propose(frame, Hints(BOXES, points_per_side=2))
    assert calls["decoded"] == [3, 4]
    assert got.masks[0, :5, :5].all()
    assert len(got) >= 2
    calls["decoded"].clear()
    union.propose(frame, Hints(points_per_side=2))
    union.propose(frame)
    assert calls["decoded"] == [4, 36]
    assert len(UnionProposals([Still()]).propose(frame, Hints(BOXES))) == 1
    assert union.grid_points == 3
    assert UnionProposals([Still()]).grid_points is None
    assert SamProposals(sam, tiny_options(video_points_per_side=0)).grid_points is None
