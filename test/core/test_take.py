"""Some of the masks of a frame, with all that belongs to them."""

import numpy as np
import torch

from ovseg_ros.core.embedded_frame import EmbeddedFrame
from ovseg_ros.core.frame import Frame
from ovseg_ros.core.options import SegmenterOptions
from ovseg_ros.core.runners_up import RunnersUp
from ovseg_ros.core.segmentation import Segmentation
from ovseg_ros.core.words import Vocabulary


def whole() -> Segmentation:
    """Three masks, of one, two and three pixels in their own rows."""
    masks = torch.zeros((3, 4, 6), dtype=torch.bool)
    for i in range(3):
        masks[i, i, : i + 1] = True
    embedded = EmbeddedFrame(
        Frame(np.zeros((4, 6, 3), np.uint8)),
        masks,
        torch.tensor([0.1, 0.2, 0.3]),
        torch.eye(3),
        class_embeddings=torch.arange(3.0)[:, None],
        non_object=torch.ones(1, 1),
        track_ids=torch.tensor([7, 8, 9]),
    )
    vocabulary, _ = Vocabulary.empty().replace(["mug", "pot"])
    return Segmentation(
        embedded,
        vocabulary,
        torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.6, 0.3]]),
        SegmenterOptions(threshold=0.5),
        torch.tensor([[0.3, 0.1], [0.1, 0.3], [0.2, 0.1]]),
        runners_up=RunnersUp(("cup", "jug", "can"), torch.tensor([0.01, 0.02, 0.03])),
        remarks=("", "white", "blue"),
    )


def test_what_belongs_to_a_mask_goes_with_it_in_the_order_asked():
    some = whole().take([2, 0])
    assert len(some) == 2
    assert [int(mask.sum()) for mask in some.masks] == [3, 1]
    assert [some.name_of(0), some.name_of(1)] == ["mug", "mug"]
    assert some.scores.tolist() == torch.tensor([0.6, 0.9]).tolist()
    assert some.runner_up == ("can", "cup")
    assert some.runner_up_score.tolist() == torch.tensor([0.03, 0.01]).tolist()
    assert some.remarks == ("blue", "")
    assert some.track_ids.tolist() == [9, 7]
    assert some.boxes_xyxy.tolist() == [[0, 2, 3, 3], [0, 0, 1, 1]]
    assert some.embeddings.tolist() == [[0, 0, 1], [1, 0, 0]]
    assert some.embedded.class_embeddings.tolist() == [[2.0], [0.0]]
    torch.testing.assert_close(some.ranking, torch.tensor([0.06, 0.03]))
    assert some.vocabulary.names == ("mug", "pot")


def test_none_of_them_is_a_segmentation_too():
    none = whole().take([])
    assert len(none) == 0
    assert none.label_image().tolist() == [[255] * 6] * 4
    assert none.runner_up == ()
