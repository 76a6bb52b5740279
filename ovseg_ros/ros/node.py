"""The lifecycle node `ovseg`: it wires topics, services, the action and the inference thread together."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future as ThreadFuture
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType, JumpThreshold
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from std_msgs.msg import Empty
from std_srvs.srv import SetBool

from ovseg_ros.core.words import Vocabulary
from ovseg_ros.errors import NotFiniteError, OvsegError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.inference.diagnostics import diagnostic_array
from ovseg_ros.ros.inference.engine import Engine
from ovseg_ros.ros.inference.loading import StartFailed, load_segmenter, loaded
from ovseg_ros.ros.inference.statistics import Statistics
from ovseg_ros.ros.inference.stream import Stream
from ovseg_ros.ros.inference.watchdog import Watchdog
from ovseg_ros.ros.inference.worker import Worker
from ovseg_ros.ros.io.frame_source import FrameSource
from ovseg_ros.ros.io.inputs import Inputs
from ovseg_ros.ros.io.outputs import Outputs
from ovseg_ros.ros.io.transforms import Transforms
from ovseg_ros.ros.lifecycle import logged_transition, survive_refused_transitions
from ovseg_ros.ros.parameters.options import options_from
from ovseg_ros.ros.parameters.table import NodeParameters, Settings
from ovseg_ros.ros.process import give_memory_back
from ovseg_ros.ros.requests.active_words import ActiveWords
from ovseg_ros.ros.requests.answers import Overdue, RequestError, name_of
from ovseg_ros.ros.requests.bridge import Bridge
from ovseg_ros.ros.requests.find_object import FindObjectServer
from ovseg_ros.ros.requests.follow_object import FollowObjectServer
from ovseg_ros.ros.requests.queries import Queries
from ovseg_ros.ros.requests.queues import ALIVE, SERVICES

STOP_TIMEOUT_S = 5.0
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class OvsegNode(LifecycleNode):
    """Finds things by name in the images of a camera."""

    def __init__(
        self,
        make_segmenter: Callable[[Settings], Any] = load_segmenter,
        *,
        is_ending: Callable[[], bool] = lambda: False,
        **node_arguments: Any,
    ) -> None:
        """An unconfigured node.

        Args:
            make_segmenter: Called in configure, on the inference thread; tests put a light one here.
            is_ending: Whether the process was told to end; configure does not wait for the model then.
            node_arguments: For rclpy's Node (context, parameter_overrides, namespace …).

        Raises:
            ConfigError: a parameter's value is wrong.
        """
        super().__init__("ovseg", **node_arguments)
        survive_refused_transitions(self)
        self._make_segmenter, self._is_ending = make_segmenter, is_ending
        self.words = ActiveWords(self)
        self.engine: Engine | None = None
        self.active, self.enabled = False, True
        self._holds_memory = False  # of a model that was cleaned up
        self._worker: Worker | None = None
        self._threads: list[threading.Thread] = []  # all that inference ever ran on
        self._watchdog: Watchdog | None = None
        self._stream: Stream | None = None
        self.outputs: Outputs | None = None
        self._inputs: Inputs | None = None
        self.statistics = Statistics()
        self.bridge = Bridge(self)
        self.transforms = Transforms(self, lambda: self.settings)
        self._table = NodeParameters(self, self._check_settings, self._apply_settings)
        self._queries = Queries(self)
        self._find_object = FindObjectServer(self)
        self._follow_object = FollowObjectServer(self)
        self.create_service(SetBool, "~/enable", self._on_enable, qos_profile=SERVICES)
        self.create_publisher(Empty, "~/alive", ALIVE)  # nothing is sent: that it is there says all
        self._diagnostics = self.create_publisher(DiagnosticArray, "/diagnostics", 10)
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # these go on while simulated time stands
        self.create_timer(1.0, lambda: self._diagnostics.publish(diagnostic_array(self)), clock=steady)
        self.create_timer(0.1, self._tick, clock=steady)
        back = JumpThreshold(min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=True)
        self._jumps = self.get_clock().create_jump_callback(back, post_callback=lambda _: self._forget())
        if self.settings.autostart:
            self._autostart = self.create_timer(0.0, self._start, clock=steady)

    # What the interfaces need (queries.py, find_object.py, follow_object.py)

    @property
    def settings(self) -> Settings:
        """The parameters of this moment."""
        return self._table.settings

    @property
    def vocabulary(self) -> Vocabulary:
        """The active words of this moment."""
        return self.words.vocabulary

    @property
    def pending(self) -> int:
        """Number of requests that wait for the inference thread."""
        return self._worker.pending if self._worker else 0

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for frames: a subscriber, or a search."""
        return bool(self.searches or (self._stream and self._stream.is_wanted()))

    @property
    def searches(self) -> int:
        """Number of goals that are being searched for or followed."""
        return self._find_object.running + self._follow_object.running

    def refusal(self, word: str) -> str:
        """Why the model cannot mean a word, "" where it can or there is no model yet."""
        return self.engine.segmenter.refusal(word) if self.engine is not None else ""

    def ready_engine(self) -> Engine:
        """The engine, where the node may use it.

        Raises:
            RequestError: INACTIVE, or INTERNAL where inference hangs.
        """
        if self.engine is None or not self.active:
            raise RequestError(ResultCode.INACTIVE, "the node is not active; configure and activate it")
        if not self.enabled:
            raise RequestError(ResultCode.INACTIVE, "the node is disabled; call ~/enable with data: true")
        overdue = self.overdue()
        if overdue is not None:
            raise overdue
        return self.engine

    def overdue(self) -> Overdue | None:
        """What to say where inference takes longer than it ever may, else None."""
        return self._watchdog.error() if self._watchdog is not None else None

    def submit(self, job: Callable[[], Any]) -> ThreadFuture[Any]:
        """Hands a job to the inference thread.

        Raises:
            RequestError: BUSY or INACTIVE.
        """
        if self._worker is None:
            raise RequestError(ResultCode.INACTIVE, "the node is not configured")
        return self._worker.submit(job, max_pending=self.settings.max_pending)

    def wake(self) -> None:
        """Says to the inference thread that there may be something to do."""
        if self._worker is not None:
            self._worker.wake()

    def report(self, reply: RequestError, error: BaseException) -> None:
        """Logs and counts what is a fault of ours; a planner's own mistakes are in its reply."""
        if isinstance(error, Overdue):  # which the watchdog has said
            return
        if reply.code in (ResultCode.INTERNAL, ResultCode.OUT_OF_MEMORY):
            self._on_step_error(error)

    # Lifecycle

    @logged_transition
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and creates the output topics."""
        settings = self.settings
        self._worker = worker = Worker(self._on_step_error)
        self._threads.append(worker.thread)
        worker.start()
        try:
            segmenter = loaded(worker, self._make_segmenter, settings, self._told_to_end)
        except StartFailed:
            return FAILURE
        except Exception as error:
            reason = f" {error}" if isinstance(error, OvsegError) else f"\n{_trace_of(error)}"
            self.get_logger().error(f"cannot load preset {settings.preset!r}:{reason}")
            self.close()
            return FAILURE
        self._watchdog = Watchdog(worker, lambda: self.settings.max_inference_time, self.get_logger())
        self.statistics = Statistics()
        source = FrameSource(
            sync_tolerance_s=settings.sync_tolerance,
            depth_wait_s=settings.depth_wait,
            on_images=worker.wake,
            is_wanted=lambda: self.wanted,
        )
        self.engine = Engine(
            segmenter,
            source,
            lambda: self.settings,
            self._now_ns,
            self.statistics,
            is_simulated=lambda: self.get_clock().ros_time_is_active,
            missing=lambda **given: inputs.missing(**given) if (inputs := self._inputs) else "",
        )
        self.outputs = Outputs(self, lambda: self.settings, self.engine.model)
        self._stream = Stream(
            self.engine,
            self.outputs,
            self.transforms,
            is_on=lambda: self.active and self.enabled and not worker.stopping,
            vocabulary=lambda: self.words.vocabulary,
            settings=lambda: self.settings,
            statistics=self.statistics,
            on_error=self._on_request_error,
            on_remark=self._on_remark,
        )
        worker.follow(self._stream.step)
        self.words.take(settings)
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
        self.transforms.listen(self.settings.target_frame, self.settings.gravity_frame)
        self.active = True
        self.words.publish()
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
        self.words.forget()
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """As cleanup."""
        return self.on_cleanup(state)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """After an unforeseen exception in a transition: back to unconfigured."""
        self.get_logger().error("a lifecycle transition failed; the node is unconfigured")
        return self.on_cleanup(state)

    def close(self, timeout_s: float = STOP_TIMEOUT_S) -> bool:
        """Stops the inference thread and takes the output topics away.

        Returns:
            False where inference did not end within `timeout_s` seconds, now or at an earlier time.
        """
        self._quiet()
        if self._worker is not None:
            self._worker.stop(timeout_s)
            self._holds_memory = True
        if self.outputs is not None:
            self.outputs.destroy()
        self._worker = self._watchdog = self._stream = self.outputs = self.engine = None
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return not self._threads

    def _told_to_end(self) -> bool:
        return self._is_ending() or not self.context.ok()

    def _quiet(self) -> None:
        self.active = False
        if self._inputs is not None:
            self._inputs.destroy()
            self._inputs = None
        self.transforms.stop()
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
        if self._watchdog is not None:
            self._watchdog.look()
        self.bridge.notify()
        if self._holds_memory and self.engine is None:  # now, as whoever waited then has had his answer
            give_memory_back()
            self._holds_memory = False

    def _on_enable(self, request: Any, response: Any) -> Any:
        self.enabled = bool(request.data)
        self.bridge.notify()
        response.success, response.message = True, "enabled" if self.enabled else "disabled"
        return response

    def _check_settings(self, new: Settings) -> None:
        if new.vocabulary != self.settings.vocabulary:
            self.words.check(new)
        if self.engine is not None:
            segmenter = self.engine.segmenter
            segmenter.check(options_from(segmenter.options, new))  # a classifier its masks do not serve

    def _apply_settings(self, old: Settings, new: Settings) -> None:
        if self.engine is not None:
            self.engine.source.sync_tolerance_s = new.sync_tolerance
            self.engine.source.depth_wait_s = new.depth_wait
        if self.active:
            self.transforms.listen(new.target_frame, new.gravity_frame)
        if new.vocabulary != old.vocabulary:
            self.words.set(new)
        elif new.threshold != old.threshold:
            self.words.publish()
        self.wake()

    def _forget(self) -> None:
        if self.engine is not None:
            self.engine.source.reset()

    def _now_ns(self) -> int:
        return self.get_clock().now().nanoseconds

    def _on_request_error(self, error: RequestError) -> None:
        self.get_logger().warning(f"{name_of(error.code)}: {error.message}", throttle_duration_sec=5.0)

    def _on_remark(self, remark: str) -> None:
        """3D is not told as it was wanted."""
        self.statistics.remark_3d(remark)
        self.get_logger().warning(remark, throttle_duration_sec=5.0)

    def _on_step_error(self, error: BaseException) -> None:
        self.statistics.failed(f"{type(error).__name__}: {error}")
        if not self.context.ok():  # the node is at its end, and what fails then is no news
            return
        known = isinstance(error, NotFiniteError)  # its message says where; the trace would not say more
        trace = str(error) if known else _trace_of(error)
        self.get_logger().error(f"inference failed, one frame is lost:\n{trace}", throttle_duration_sec=5.0)


def _trace_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
