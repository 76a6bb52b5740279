"""The lifecycle node `ovseg`: it wires topics, services, the action and the inference thread together."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.exceptions import ParameterException
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_srvs.srv import SetBool

from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import ConfigError, NotFiniteError, OvsegError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.inference.diagnostics import diagnostic_array
from ovseg_ros.ros.inference.engine import Engine
from ovseg_ros.ros.inference.statistics import Statistics
from ovseg_ros.ros.inference.stream import Stream
from ovseg_ros.ros.inference.worker import Worker
from ovseg_ros.ros.io.frame_source import FrameSource
from ovseg_ros.ros.io.inputs import Inputs
from ovseg_ros.ros.io.outputs import Outputs
from ovseg_ros.ros.lifecycle import logged_transition, survive_refused_transitions
from ovseg_ros.ros.parameters.options import options_from
from ovseg_ros.ros.parameters.table import PRESET_WORD, NodeParameters, Settings
from ovseg_ros.ros.process import prepare_process
from ovseg_ros.ros.requests.answers import RequestError, name_of
from ovseg_ros.ros.requests.bridge import Bridge
from ovseg_ros.ros.requests.find_object import FindObjectServer
from ovseg_ros.ros.requests.queries import Queries

STOP_TIMEOUT_S = 5.0
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class StartFailed(Exception):
    """The node was to start by itself and could not; the reason is in the log."""


def load_segmenter(settings: Settings) -> Any:
    """The segmenter of the preset that the settings name."""
    from ovseg_ros.models.presets import load_preset

    return load_preset(
        settings.preset,
        device=settings.device,
        weights_dir=settings.weights_dir or None,
        offline=settings.offline,
        proposals_from=None if settings.proposals == PRESET_WORD else settings.proposals,
    )


class OvsegNode(LifecycleNode):
    """Finds things by name in the images of a camera."""

    def __init__(
        self, make_segmenter: Callable[[Settings], Any] = load_segmenter, **node_arguments: Any
    ) -> None:
        """An unconfigured node.

        Args:
            make_segmenter: Called in configure; tests put a light one here.
            node_arguments: For rclpy's Node (context, parameter_overrides, namespace …).

        Raises:
            ConfigError: a parameter's value is wrong.
        """
        super().__init__("ovseg", **node_arguments)
        survive_refused_transitions(self)
        self._make_segmenter = make_segmenter
        self.vocabulary = Vocabulary.empty()
        self.engine: Engine | None = None
        self.active, self.enabled = False, True
        self._worker: Worker | None = None
        self._outputs: Outputs | None = None
        self._inputs: Inputs | None = None
        self.statistics = Statistics()
        self.bridge = Bridge(self)
        self._table = NodeParameters(self, self._check_settings, self._apply_settings)
        self._queries = Queries(self)
        self._find_object = FindObjectServer(self)
        self.create_service(SetBool, "~/enable", self._on_enable)
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # these go on while simulated time stands
        self.create_timer(1.0, lambda: self._diagnostics.publish(diagnostic_array(self)), clock=steady)
        self.create_timer(0.1, self._tick, clock=steady)
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=lambda _: self._forget())
        if self.settings.autostart:
            self._autostart = self.create_timer(0.0, self._start, clock=steady)

    # What the interfaces need (queries.py, find_object.py)

    @property
    def settings(self) -> Settings:
        """The parameters of this moment."""
        return self._table.settings

    @property
    def pending(self) -> int:
        """Number of requests that wait for the inference thread."""
        return self._worker.pending if self._worker else 0

    def default_threshold(self) -> float:
        """The threshold of labels without one of their own."""
        preset = self.engine.segmenter.options.threshold if self.engine else 0.0
        return self.settings.threshold or float(preset)

    def refusal(self, word: str) -> str:
        """Why the model cannot mean a word, "" where it can or there is no model yet."""
        return self.engine.segmenter.refusal(word) if self.engine is not None else ""

    def ready_engine(self) -> Engine:
        """The engine, where the node may use it.

        Raises:
            RequestError: INACTIVE.
        """
        if self.engine is None or not self.active:
            raise RequestError(ResultCode.INACTIVE, "the node is not active; configure and activate it")
        if not self.enabled:
            raise RequestError(ResultCode.INACTIVE, "the node is disabled; call ~/enable with data: true")
        return self.engine

    def submit(self, job: Callable[[], Any]) -> ThreadFuture[Any]:
        """Hands a job to the inference thread.

        Raises:
            RequestError: BUSY or INACTIVE.
        """
        if self._worker is None:
            raise RequestError(ResultCode.INACTIVE, "the node is not configured")
        return self._worker.submit(job, max_pending=self.settings.max_pending)

    def change_vocabulary(self, vocabulary: Vocabulary) -> None:
        """Puts a vocabulary into force, from the next frame on, and publishes it."""
        if vocabulary is not self.vocabulary:
            self.vocabulary = vocabulary
            self.get_logger().info(
                f"vocabulary {vocabulary.version}: {', '.join(vocabulary.names) or '(empty)'}"
            )
            self._publish_vocabulary()
            if self._worker is not None:
                self._worker.wake()

    def report(self, reply: RequestError, error: BaseException) -> None:
        """Logs and counts what is a fault of ours; a planner's own mistakes are in its reply."""
        if reply.code in (ResultCode.INTERNAL, ResultCode.OUT_OF_MEMORY):
            self._on_step_error(error)

    # Lifecycle

    @logged_transition
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and creates the output topics."""
        settings = self.settings
        try:
            segmenter = self._make_segmenter(settings)
            segmenter.check(options_from(segmenter.options, settings))
            segmenter.warm_up()
        except Exception as error:
            reason = f" {error}" if isinstance(error, OvsegError) else f"\n{traceback.format_exc()}"
            self.get_logger().error(f"cannot load preset {settings.preset!r}:{reason}")
            return FAILURE
        self.statistics = Statistics()
        source = FrameSource(
            sync_tolerance_s=settings.sync_tolerance,
            depth_wait_s=settings.depth_wait,
            on_images=lambda: self._worker.wake() if self._worker else None,
        )
        self.engine = Engine(
            segmenter,
            source,
            lambda: self.settings,
            self._now_ns,
            self.statistics,
            is_simulated=lambda: self.get_clock().ros_time_is_active,
            missing=lambda **given: self._inputs.missing(**given) if self._inputs else "",
        )
        self._outputs = Outputs(self, lambda: self.settings, self.engine.model)
        stream = Stream(
            self.engine,
            self._outputs,
            is_on=lambda: self.active and self.enabled,
            vocabulary=lambda: self.vocabulary,
            settings=lambda: self.settings,
            statistics=self.statistics,
            on_error=self._on_request_error,
        )
        self._worker = Worker(stream.step, self._on_step_error)
        self._worker.start()
        self._take_words(settings)
        self.get_logger().info(
            f"preset {self.engine.model} on {segmenter.device} is ready; {segmenter.reason}"
        )
        if segmenter.warning:
            self.get_logger().warning(segmenter.warning)
        return super().on_configure(state)

    @logged_transition
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes to the camera and publishes from now on."""
        result = super().on_activate(state)
        assert self.engine is not None
        self._inputs = Inputs(self, self.engine.source, self.bridge.notify)
        self.active = True
        self._publish_vocabulary()
        return result

    @logged_transition
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets go of the camera; nothing is published from now on."""
        self._quiet()
        return super().on_deactivate(state)

    @logged_transition
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forgets the model and the active words, but not what numbers mean: messages may be on their way."""
        self.close()
        self.vocabulary, _ = self.vocabulary.replace([], now_s=time.monotonic())
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup."""
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an unforeseen exception in a transition: back to unconfigured."""
        self.get_logger().error("a lifecycle transition failed; the node is unconfigured")
        return self.on_cleanup(state)

    def close(self) -> bool:
        """Stops the inference thread and takes the output topics away.

        Returns:
            False where inference did not end in time.
        """
        self._quiet()
        stopped = self._worker.stop(STOP_TIMEOUT_S) if self._worker else True
        if self._outputs is not None:
            self._outputs.destroy()
        self._worker = self._outputs = self.engine = None
        return stopped

    def _quiet(self) -> None:
        self.active = False
        if self._inputs is not None:
            self._inputs.destroy()
            self._inputs = None
        self._forget()
        self.bridge.notify()

    # Callbacks

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS:
            raise StartFailed

    def _tick(self) -> None:
        """Ends waits that nothing else ends: for depth, for a deadline, for a cancelled goal."""
        if self.engine is not None:
            self.engine.source.poll()
        self.bridge.notify()

    def _on_enable(self, request: Any, response: Any) -> Any:
        self.enabled = bool(request.data)
        self.bridge.notify()
        response.success, response.message = True, "enabled" if self.enabled else "disabled"
        return response

    def _check_settings(self, new: Settings) -> None:
        if new.vocabulary != self.settings.vocabulary:
            rejected = self._words_of(new)[1]
            if rejected:
                raise ConfigError("; ".join(f"vocabulary: {r.name!r}: {r.reason}" for r in rejected))
        if self.engine is not None:
            segmenter = self.engine.segmenter
            segmenter.check(options_from(segmenter.options, new))  # a classifier its masks do not serve

    def _apply_settings(self, old: Settings, new: Settings) -> None:
        if self.engine is not None:
            self.engine.source.sync_tolerance_s = new.sync_tolerance
            self.engine.source.depth_wait_s = new.depth_wait
        if new.vocabulary != old.vocabulary:
            self.change_vocabulary(self._words_of(new)[0])
        elif new.threshold != old.threshold:
            self._publish_vocabulary()
        if self._worker is not None:
            self._worker.wake()

    def _words_of(self, settings: Settings) -> tuple[Vocabulary, list[Any]]:
        words = [word for word in settings.vocabulary if word]
        return self.vocabulary.replace(words, now_s=time.monotonic(), refuse=self.refusal)

    def _take_words(self, settings: Settings) -> None:
        """The words given before there was a model: those it cannot mean are said, once, and go."""
        if len(self.vocabulary):
            rejected = [(name, reason) for name in self.vocabulary.names if (reason := self.refusal(name))]
            names = [name for name, _ in rejected]
            self.vocabulary, _ = self.vocabulary.remove(names, now_s=time.monotonic())
        else:
            self.vocabulary, refused = self._words_of(settings)
            rejected = [(one.name, one.reason) for one in refused]
        for name, reason in rejected:
            self.statistics.count("rejected_words")
            self.get_logger().warning(f"word refused: {name!r}: {reason}")

    def _publish_vocabulary(self) -> None:
        if self._outputs is not None:
            self._outputs.publish_vocabulary(self.vocabulary, self.default_threshold())

    def _forget(self) -> None:
        if self.engine is not None:
            self.engine.source.reset()

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_request_error(self, error: RequestError) -> None:
        self.get_logger().warning(f"{name_of(error.code)}: {error.message}", throttle_duration_sec=5.0)

    def _on_step_error(self, error: BaseException) -> None:
        self.statistics.failed(f"{type(error).__name__}: {error}")
        known = isinstance(error, NotFiniteError)  # its message says where; the trace would not say more
        trace = str(error) if known else "".join(traceback.format_exception(error))
        self.get_logger().error(f"inference failed, one frame is lost:\n{trace}", throttle_duration_sec=5.0)


def main(args: list[str] | None = None, make_segmenter: Callable[[Settings], Any] = load_segmenter) -> int:
    """Runs the node until it is told to end; the exit status is 1 where it could not start, else 0."""
    prepare_process()
    rclpy.init(args=args)
    node, executor, status, stopped = None, None, 0, True
    try:
        node = OvsegNode(make_segmenter)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except StartFailed:
        status = int(rclpy.ok())
    except (ConfigError, ParameterException) as error:
        rclpy.logging.get_logger("ovseg").fatal(str(error))
        status = 1
    except Exception:
        if rclpy.ok():
            raise
        # A signal took the context away under a callback, for example while the model was loading.
    finally:
        # Under ros2 launch Ctrl-C reaches a node twice, from the terminal and from launch; the second must
        # not break off the clean-up, which ends by itself.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            stopped = node.close()
            node.destroy_node()
        if executor is not None:
            executor.shutdown(timeout_sec=0)  # or it may end after what it holds, with a traceback
        rclpy.try_shutdown()  # puts the handlers of before back
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not stopped:
        # A network in mid-inference cannot be interrupted; do not wait for it in the interpreter's exit.
        sys.stderr.flush()
        os._exit(status)
    return status


if __name__ == "__main__":
    sys.exit(main())
