"""A bench for the node's tests: the real node over real DDS, with a light model that sees colours.

The model is the real `OpenVocabularySegmenter` over two stand-ins: masks are the image's patches of one
pure colour, and the space of regions and words is (red, green, blue, wall, anything else).
"""

from __future__ import annotations

import array
import itertools
import os
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import rclpy
import torch
from action_msgs.msg import GoalStatus
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from ovseg_ros.action import FindObject
from ovseg_ros.msg import Segmentation, Vocabulary
from ovseg_ros.srv import EmbedText, SegmentImage, SetVocabulary
from rclpy.action import ActionClient
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.parameter_client import AsyncParameterClient
from rclpy.qos import QoSDurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String
from std_srvs.srv import SetBool

from ovseg_ros.core.frame import Frame, Proposals
from ovseg_ros.core.segmenter import OpenVocabularySegmenter, SegmenterOptions
from ovseg_ros.ros.node import OvsegNode

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}
PATIENCE_S = 30.0
_domains = itertools.count(os.getpid())


def fresh_domain() -> int:
    """A DDS domain of its own for each bench: the ghosts of nodes that just ended stay in theirs."""
    return 1 + next(_domains) % 100


class ColourProposer:
    """Proposes a mask for each pure colour in the image; can be told to wait, to fail, or to want depth."""

    def __init__(self) -> None:
        self.needs_depth = False
        self.error: Exception | None = None
        self.gate = threading.Event()
        self.gate.set()
        self.frames: list[Frame] = []

    def propose(self, frame: Frame) -> Proposals:
        """One mask per colour of COLOURS that occurs."""
        self.frames.append(frame)
        self.gate.wait(PATIENCE_S)
        if self.error is not None:
            raise self.error
        masks = [(frame.image_rgb == np.array(colour)).all(axis=2) for colour in COLOURS.values()]
        masks = [mask for mask in masks if mask.any()]
        if not masks:
            return Proposals.empty(*frame.size_hw)
        return Proposals(torch.from_numpy(np.stack(masks)), torch.full((len(masks),), 0.9))


class ColourClip:
    """Embeds a region as its mean colour, a colour word as that colour, "wall" and the rest as one more."""

    size = 8
    embedding_dim = 5
    logit_scale = 10.0

    def __init__(self) -> None:
        self.encoded: list[tuple[str, ...]] = []

    def encode_regions(self, pixels: torch.Tensor, region_masks: torch.Tensor | None = None) -> torch.Tensor:
        """(N,3,S,S) CLIP-normalised -> (N,5); every region is a little like a wall."""
        mean = torch.tensor([0.48145466, 0.4578275, 0.40821073]).reshape(3, 1, 1)
        std = torch.tensor([0.26862954, 0.26130258, 0.27577711]).reshape(3, 1, 1)
        weight = torch.ones_like(pixels[:, :1]) if region_masks is None else region_masks.float()
        colour = ((pixels * std + mean) * weight).sum((2, 3)) / weight.sum((2, 3))
        rows = torch.cat([colour, torch.tensor([[0.05, 0.0]]).expand(len(colour), 2)], dim=1)
        return torch.nn.functional.normalize(rows, dim=1)

    def encode_text(self, labels: Sequence[str], templates: Sequence[str] | None = None) -> torch.Tensor:
        """K words -> (K,5)."""
        self.encoded.append(tuple(labels))
        known = [*COLOURS, "wall"]
        rows = torch.zeros((len(labels), 5))
        for row, label in zip(rows, labels, strict=True):
            row[known.index(label) if label in known else 4] = 1.0
        return rows


def colour_segmenter(threshold: float = 0.5) -> OpenVocabularySegmenter:
    """The light model."""
    options = SegmenterOptions(threshold=threshold, background=("wall",), min_mask_pixels=1)
    return OpenVocabularySegmenter(ColourProposer(), ColourClip(), options, name="colours")


def picture(red: bool = True, blue: bool = False, height: int = 24, width: int = 32) -> np.ndarray:
    """(H, W, 3) uint8: grey with a red patch at rows 4–11, columns 6–15, and a blue one below."""
    image = np.full((height, width, 3), 90, np.uint8)
    if red:
        image[4:12, 6:16] = COLOURS["red"]
    if blue:
        image[14:20, 6:16] = COLOURS["blue"]
    return image


def image_message(
    pixels: np.ndarray, encoding: str = "rgb8", stamp: Any = None, frame_id: str = "camera"
) -> Image:
    """An Image message of an array."""
    message = Image(height=pixels.shape[0], width=pixels.shape[1], encoding=encoding)
    message.step = pixels.shape[1] * pixels[0, 0].nbytes
    message.data = array.array("B", pixels.tobytes())
    message.header.frame_id = frame_id
    if stamp is not None:
        message.header.stamp = stamp
    return message


def camera_info_message(height: int = 24, width: int = 32, focal: float = 30.0) -> CameraInfo:
    """A CameraInfo of a pinhole camera."""
    info = CameraInfo(height=height, width=width)
    info.k = [focal, 0.0, width / 2, 0.0, focal, height / 2, 0.0, 0.0, 1.0]
    return info


class Bench:
    """The node and a client, each on an executor thread of its own, in their own context and domain."""

    def __init__(self, make_segmenter: Callable[[Any], Any] | None = None, **parameters: Any) -> None:
        self.segmenter = colour_segmenter()
        self.context = Context()
        rclpy.init(args=[], context=self.context, domain_id=fresh_domain())
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = OvsegNode(
            make_segmenter or (lambda settings: self.segmenter),
            context=self.context,
            parameter_overrides=overrides,
        )
        self.client = Node("client", context=self.context)
        self.failure: BaseException | None = None
        self._threads = [self._spin(self.node), self._spin(self.client)]
        self._subscriptions: dict[str, list[Any]] = {}
        self.images = self.client.create_publisher(Image, "/image", QoSProfile(depth=1))
        self.depths = self.client.create_publisher(Image, "/depth", QoSProfile(depth=1))
        self.infos = self.client.create_publisher(CameraInfo, "/camera_info", QoSProfile(depth=1))
        self.queries = self.client.create_publisher(String, "/ovseg/query", 10)
        self.set_vocabulary = self.client.create_client(SetVocabulary, "/ovseg/set_vocabulary")
        self.segment = self.client.create_client(SegmentImage, "/ovseg/segment")
        self.embed_text = self.client.create_client(EmbedText, "/ovseg/embed_text")
        self.enable = self.client.create_client(SetBool, "/ovseg/enable")
        self.change_state = self.client.create_client(ChangeState, "/ovseg/change_state")
        self.finder = ActionClient(self.client, FindObject, "/ovseg/find_object")
        self.parameters = AsyncParameterClient(self.client, "/ovseg")

    def _spin(self, node: Node) -> threading.Thread:
        executor = SingleThreadedExecutor(context=self.context)
        executor.add_node(node)

        def run() -> None:
            try:
                executor.spin()
            except ExternalShutdownException:
                pass
            except BaseException as error:
                self.failure = error

        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        return thread

    def close(self) -> None:
        """Ends everything; fails where the node's thread died of an exception."""
        self.proposer.gate.set()
        self.context.try_shutdown()
        for thread in self._threads:
            thread.join(PATIENCE_S)
        self.node.close()
        self.client.destroy_node()
        self.node.destroy_node()
        assert self.failure is None, self.failure

    @property
    def proposer(self) -> ColourProposer:
        """The stand-in that sees every frame."""
        return self.segmenter.proposer

    def now(self, offset_s: float = 0.0) -> Any:
        """A stamp of now, or `offset_s` seconds later."""
        nanoseconds = self.client.get_clock().now().nanoseconds + int(offset_s * 1e9)
        return rclpy.time.Time(nanoseconds=nanoseconds).to_msg()

    def until(self, condition: Callable[[], Any], what: str = "") -> Any:
        """Waits for something true and returns it."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            value = condition()
            if value:
                return value
            assert self.failure is None, f"the node died: {self.failure!r}"
            time.sleep(0.005)
        raise AssertionError(f"waited in vain {what}")

    def active(self) -> Bench:
        """Waits until the node is active and its inputs are connected."""
        self.until(lambda: self.node.active, "for the node to be active")
        self.until(
            lambda: self.images.get_subscription_count() and self.depths.get_subscription_count(),
            "for inputs",
        )
        self.until(
            lambda: self.queries.get_subscription_count() and self.infos.get_subscription_count(),
            "for inputs",
        )
        return self

    def listen(self, kind: Any, topic: str, *, latched: bool = False) -> list[Any]:
        """Subscribes once to ~/topic; the list grows as messages come."""
        if latched and topic in self._subscriptions:  # a late subscriber anew
            self.client.destroy_subscription(self._subscriptions.pop(topic)[0])
        if topic not in self._subscriptions:
            received: list[Any] = []
            durability = QoSDurabilityPolicy.TRANSIENT_LOCAL if latched else QoSDurabilityPolicy.VOLATILE
            qos = QoSProfile(depth=20, durability=durability)
            if topic == "points":
                qos = rclpy.qos.qos_profile_sensor_data
            subscription = self.client.create_subscription(kind, f"/ovseg/{topic}", received.append, qos)
            self._subscriptions[topic] = [subscription, received]
            if not latched and self.node.active:
                self.until(lambda: topic in self.wanted(), f"for {topic} to be connected")
        received = self._subscriptions[topic][1]
        if not latched:
            received.clear()
        return received

    def wanted(self) -> list[str]:
        """The topics of one frame that the node sees a subscriber of."""
        return [output.name for output in self.node._outputs.wanted()]

    def deaf(self) -> None:
        """Ends all subscriptions."""
        for subscription, _ in self._subscriptions.values():
            self.client.destroy_subscription(subscription)
        self._subscriptions.clear()
        if self.node._outputs is not None:
            self.until(lambda: not self.wanted(), "for subscriptions to end")

    def segmentations(self) -> list[Segmentation]:
        """`listen` to ~/segmentation."""
        return self.listen(Segmentation, "segmentation")

    def show(self, pixels: np.ndarray | None = None, *, stamp: Any = None, **message: Any) -> Image:
        """Publishes a picture and waits until the node has it."""
        sent = image_message(picture() if pixels is None else pixels, stamp=stamp or self.now(), **message)
        self.send(sent)
        return sent

    def send(self, message: Image) -> None:
        """Publishes an image and waits until the node has it."""
        self._send(self.images, message, lambda: self.node.engine.source.counts.images)

    def _send(self, publisher: Any, message: Any, count: Callable[[], int]) -> None:
        before = count()
        publisher.publish(message)
        self.until(lambda: count() > before, "for the node to receive")

    def show_with_depth(
        self,
        depth: np.ndarray,
        pixels: np.ndarray | None = None,
        *,
        encoding: str = "32FC1",
        info: Any = None,
    ) -> Image:
        """Publishes camera_info, depth and a picture of one stamp, in this order."""
        stamp, source = self.now(), self.node.engine.source
        self.infos.publish(info or camera_info_message())
        self.until(lambda: source._camera_info is not None, "for camera_info")
        known = len(source._depths)
        self.depths.publish(image_message(depth, encoding, stamp))
        self.until(lambda: len(source._depths) != known or known == source._depths.maxlen, "for depth")
        return self.show(pixels, stamp=stamp)

    def call(self, client: Any, request: Any) -> Any:
        """Calls a service and waits for the reply."""
        assert client.wait_for_service(PATIENCE_S)
        future = client.call_async(request)
        self.until(future.done, "for a reply")
        return future.result()

    def words(self, *labels: str, operation: int = 0, thresholds: Sequence[float] = ()) -> Any:
        """Calls ~/set_vocabulary."""
        request = SetVocabulary.Request(operation=operation, labels=list(labels), thresholds=list(thresholds))
        return self.call(self.set_vocabulary, request)

    def set(self, **values: Any) -> Any:
        """Sets one parameter over its service; returns the result with `successful` and `reason`."""
        self.parameters.wait_for_services(PATIENCE_S)
        future = self.parameters.set_parameters(
            [Parameter(name, value=value) for name, value in values.items()]
        )
        self.until(future.done, "for set_parameters")
        return future.result().results[0]

    def transition(self, name: str) -> bool:
        """Asks for a lifecycle transition by name."""
        number = getattr(Transition, f"TRANSITION_{name.upper()}")
        return self.call(self.change_state, ChangeState.Request(transition=Transition(id=number))).success

    def begin_find(self, query: str, feedback: Callable[[Any], None] | None = None, **goal: Any) -> Any:
        """Sends a goal; returns its handle."""
        assert self.finder.wait_for_server(PATIENCE_S)
        timeout_s = goal.pop("timeout", 0.0)
        request = FindObject.Goal(query=query, **goal)
        request.timeout.sec = int(timeout_s)
        request.timeout.nanosec = int((timeout_s % 1) * 1e9)
        future = self.finder.send_goal_async(request, feedback_callback=feedback)
        self.until(future.done, "for a goal to be accepted")
        return future.result()

    def result_of(self, handle: Any) -> tuple[Any, int]:
        """Waits for a goal's result; returns it and its status."""
        future = handle.get_result_async()
        self.until(future.done, "for a result")
        return future.result().result, future.result().status

    def find(self, query: str, **goal: Any) -> Any:
        """Sends a goal and returns its result; checks that code and status agree."""
        result, status = self.result_of(self.begin_find(query, **goal))
        assert (status == GoalStatus.STATUS_SUCCEEDED) == (result.code in (0, 1)), (status, result.code)
        return result

    def vocabulary(self) -> Vocabulary:
        """The latched vocabulary, as a late subscriber receives it."""
        received = self.listen(Vocabulary, "vocabulary", latched=True)
        return self.until(lambda: received and received[-1], "for the vocabulary")
