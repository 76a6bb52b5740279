"""What turning a labelled frame into messages costs, and sending them: two stages of `ovseg bench`."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from visualization_msgs.msg import MarkerArray

from ovseg_ros.core.overlay import draw_overlay
from ovseg_ros.msg import Segmentation
from ovseg_ros.ros.conversions import MessageContext, segmentation_message
from ovseg_ros.ros.images import image_from_array
from ovseg_ros.ros.markers import MarkerMaker


class StageTimes:
    """Publishers and one subscriber each, in a context of their own, on this machine."""

    def __init__(self) -> None:
        self._context = Context()
        rclpy.init(args=[], context=self._context)
        self._node = rclpy.create_node("ovseg_bench", context=self._context)
        self._listener = rclpy.create_node("ovseg_bench_listener", context=self._context)
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._listener)
        kinds = {"segmentation": Segmentation, "overlay": Image, "markers": MarkerArray}
        kinds |= dict.fromkeys(("label_image", "confidence", "instance_image"), Image)
        self._publishers = {name: self._node.create_publisher(k, f"~/{name}", 1) for name, k in kinds.items()}
        for name, kind in kinds.items():
            self._listener.create_subscription(kind, f"/ovseg_bench/{name}", lambda _: None, 1, raw=True)
        self._thread = threading.Thread(target=self._executor.spin, daemon=True)
        self._thread.start()
        until = time.monotonic() + 10
        while time.monotonic() < until and not all(
            publisher.get_subscription_count() for publisher in self._publishers.values()
        ):
            time.sleep(0.01)

    def __call__(self, segmentation: Any) -> Mapping[str, float]:
        """Seconds of "convert" and "publish" for one labelled frame, all outputs of images watched."""
        frame = segmentation.frame
        header = Header(frame_id=frame.frame_id)
        context = MessageContext(header, segmentation)
        labels, floats = segmentation.semantic()  # of the stage before
        start = time.perf_counter()
        confidence = np.rint(np.clip(floats, 0, 1) * 255).astype(np.uint8)
        messages = {
            "segmentation": segmentation_message(
                context, model="bench", with_masks=True, with_unlabelled=False
            ),
            "label_image": image_from_array(header, labels),
            "confidence": image_from_array(header, confidence),
            "instance_image": image_from_array(header, context.instance_map),
            "overlay": image_from_array(header, draw_overlay(frame.image_rgb, segmentation)),
            "markers": MarkerMaker().message(context),
        }
        made = time.perf_counter()
        for name, message in messages.items():
            self._publishers[name].publish(message)
        return {"convert": made - start, "publish": time.perf_counter() - made}

    def close(self) -> None:
        """Takes everything down."""
        self._executor.shutdown()
        self._thread.join(5)
        self._node.destroy_node()
        self._listener.destroy_node()
        rclpy.try_shutdown(context=self._context)
