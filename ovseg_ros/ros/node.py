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

from ovseg_ros.core.words import Vocabulary, Wanted, parse_request
from ovseg_ros.errors import NotFiniteError, OvsegError
from ovseg_ros.msg import ResultCode
from ovseg_ros.ros.camera import Camera, make_cameras
from ovseg_ros.ros.inference.diagnostics import diagnostic_array
from ovseg_ros.ros.inference.engine import Engine
from ovseg_ros.ros.inference.loading import StartFailed, load_segmenter, loaded
from ovseg_ros.ros.inference.statistics import Statistics
from ovseg_ros.ros.inference.turns import Turns
from ovseg_ros.ros.inference.watchdog import Watchdog
from ovseg_ros.ros.inference.worker import Worker
from ovseg_ros.ros.io.transforms import Transforms
from ovseg_ros.ros.io.word_topics import WordTopics
from ovseg_ros.ros.lifecycle import logged_transition, survive_refused_transitions
from ovseg_ros.ros.memory import MemoryServices, Remembering, make_remembering
from ovseg_ros.ros.parameters.declared import NodeParameters
from ovseg_ros.ros.parameters.options import options_from
from ovseg_ros.ros.parameters.table import Settings
from ovseg_ros.ros.process import give_memory_back
from ovseg_ros.ros.requests.active_words import ActiveWords
from ovseg_ros.ros.requests.answers import Overdue, RequestError
from ovseg_ros.ros.requests.bridge import Bridge
from ovseg_ros.ros.requests.find_object import FindObjectServer
from ovseg_ros.ros.requests.follow_object import FollowObjectServer
from ovseg_ros.ros.requests.queries import Queries
from ovseg_ros.ros.requests.queues import ALIVE, SERVICES

STOP_TIMEOUT_S = 5.0
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


class OvsegNode(LifecycleNode):
    """Finds things by name in the images of one or several cameras, with one model."""

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
        self.segmenter: Any = None  # while it is configured
        self.cameras: dict[str, Camera] = {}  # in the order of the parameter, none while it is not configured
        self.active, self.enabled = False, True
        self._holds_memory = False  # of a model that was cleaned up
        self._worker: Worker | None = None
        self._threads: list[threading.Thread] = []  # all that inference ever ran on
        self._watchdog: Watchdog | None = None
        self.word_topics: WordTopics | None = None
        self.remembering: Remembering | None = None  # while it is configured, where parameters want it
        self.statistics = Statistics()  # of the node, and of its camera where it has one
        self.bridge = Bridge(self)
        self.transforms = Transforms(self, lambda: self.settings)
        self._table = NodeParameters(
            self,
            self._check_settings,
            self._apply_settings,
            is_configured=lambda: self.engine is not None,
        )
        self._queries = Queries(self)
        self.memory_services = MemoryServices(self)
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

    def set_parameters_atomically(self, parameter_list: list[Any]) -> Any:
        """As rclpy's: its services come here. 1 is taken for 1.0, and a success says what it waits for."""
        return self._table.set(parameter_list, super().set_parameters_atomically)

    # What the interfaces need (queries.py, find_object.py, follow_object.py)

    @property
    def settings(self) -> Settings:
        """The parameters of this moment."""
        return self._table.settings

    def show_vocabulary(self, names: tuple[str, ...]) -> None:
        """Has the parameter `vocabulary` tell the words in force, however they came."""
        self._table.show(vocabulary=names)

    @property
    def vocabulary(self) -> Vocabulary:
        """The active words of this moment."""
        return self.words.vocabulary

    @property
    def pending(self) -> int:
        """Number of requests that wait for the inference thread."""
        return self._worker.pending if self._worker else 0

    @property
    def engine(self) -> Engine | None:
        """That of the only camera, or of the first; None while it is not configured."""
        return next((camera.engine for camera in self.cameras.values()), None)

    def refusal(self, word: str) -> str:
        """Why the model cannot mean a word, "" where it can, it was taught or there is no model yet."""
        if self.remembering is not None and self.remembering.taught.knows(word):
            return self.remembering.taught.refusal(word)
        return self.segmenter.refusal(word) if self.segmenter is not None else ""

    def asked(self, query: str) -> list[Wanted]:
        """What a query asks for; names that were taught are taken as they stand.

        Raises:
            InvalidInputError: it cannot be read.
        """
        return parse_request(query if self.remembering is None else self.remembering.taught.quoted(query))

    def ready_cameras(self, name: str = "") -> list[Camera]:
        """The camera of that name, or all of them, where the node may use them.

        Raises:
            RequestError: INACTIVE, INVALID_QUERY where no camera has that name, or INTERNAL where inference
                hangs.
        """
        if not self.cameras or not self.active:
            raise RequestError(ResultCode.INACTIVE, "the node is not active; configure and activate it")
        if not self.enabled:
            raise RequestError(ResultCode.INACTIVE, "the node is disabled; call ~/enable with data: true")
        overdue = self.overdue()
        if overdue is not None:
            raise overdue
        if name and name not in self.cameras:
            there = ", ".join(filter(None, self.cameras)) or "one, without a name"
            raise RequestError(ResultCode.INVALID_QUERY, f"no camera {name!r}; there is {there}")
        return [self.cameras[name]] if name else list(self.cameras.values())

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
            self.failed(error)

    # Lifecycle

    @logged_transition
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Loads the model and creates the output topics."""
        settings = self.settings
        self._worker = worker = Worker(self.failed)
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
        try:
            self.remembering = make_remembering(settings, self.transforms, segmenter)
        except OvsegError as error:
            self.get_logger().error(f"cannot remember: {error}")
            self.close()
            return FAILURE
        self._watchdog = Watchdog(worker, lambda: self.settings.max_inference_time, self.get_logger())
        self.statistics, self.segmenter, names = Statistics(), segmenter, settings.camera_names
        self.cameras = make_cameras(self, segmenter, worker, names, self.statistics)
        self.word_topics = WordTopics(self, detections=settings.detections)
        worker.follow(Turns(list(self.cameras.values()), segmenter.encode_all).step)
        self.words.take(settings)
        model, of_cameras = (
            self.cameras[names[0]].engine.model,
            f" for {', '.join(names)}" if names[0] else "",
        )
        self.get_logger().info(
            f"preset {model} on {segmenter.device} is ready{of_cameras}; {segmenter.reason}"
        )
        if segmenter.warning:
            self.get_logger().warning(segmenter.warning)
        return super().on_configure(state)

    @logged_transition
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribes to the cameras and publishes from now on."""
        result = super().on_activate(state)
        for camera in self.cameras.values():
            camera.subscribe()
        self._listen(self.settings)
        self.active = True
        self.words.publish()
        return result

    @logged_transition
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lets go of the cameras; nothing is published from now on."""
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
        if self.remembering is not None:
            self.remembering.close()
            self.remembering = None
        for camera in self.cameras.values():
            camera.outputs.destroy()
        if self.word_topics is not None:
            self.word_topics.destroy()
        self._worker = self._watchdog = self.word_topics = self.segmenter = None
        self.cameras = {}  # another one: a callback may be at the old
        self._threads = [thread for thread in self._threads if thread.is_alive()]
        return not self._threads

    def _listen(self, settings: Settings) -> None:
        """Hears TF, where a frame is named that it has to tell of."""
        remembers = settings.memory_frame if self.remembering is not None else ""
        self.transforms.listen(settings.target_frame, settings.gravity_frame, remembers)

    def _told_to_end(self) -> bool:
        return self._is_ending() or not self.context.ok()

    def _quiet(self) -> None:
        self.active = False
        for camera in self.cameras.values():
            camera.unsubscribe()
        self.transforms.stop()
        self.bridge.notify()

    # Callbacks

    def _start(self) -> None:
        self._autostart.cancel()
        if self.trigger_configure() != SUCCESS or self.trigger_activate() != SUCCESS:
            raise StartFailed

    def _tick(self) -> None:
        """Ends waits that nothing else ends: for depth, for a deadline, for a cancelled goal."""
        for camera in self.cameras.values():
            camera.engine.source.poll()
        if self._watchdog is not None:
            self._watchdog.look()
        self.bridge.notify()
        if self._holds_memory and self.segmenter is None:  # now, as whoever waited then has had his answer
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
        if self.segmenter is not None:
            self.segmenter.check(
                options_from(self.segmenter.options, new)
            )  # a classifier its masks do not serve

    def _apply_settings(self, old: Settings, new: Settings) -> None:
        for camera in self.cameras.values():
            camera.apply(new)
        if self.active:
            self._listen(new)
        if new.vocabulary != old.vocabulary:
            self.words.set(new)
        elif new.threshold != old.threshold:
            self.words.publish()
        self.wake()

    def _forget(self) -> None:
        for camera in self.cameras.values():
            camera.engine.source.reset()
        if self.remembering is not None:
            self.remembering.forget_tracks()

    def failed(self, error: BaseException, camera: Camera | None = None) -> None:
        """Logs and counts an error that is a fault of ours, in a frame of a camera or in a request."""
        said = f"{type(error).__name__}: {error}"
        (self if camera is None else camera).statistics.failed(said)
        if not self.context.ok():  # the node is at its end, and what fails then is no news
            return
        known = isinstance(error, NotFiniteError)  # its message says where; the trace would not say more
        trace = str(error) if known else _trace_of(error)
        lost = "inference failed, one frame is lost"
        self.get_logger().error(
            f"{camera.said(lost) if camera else lost}:\n{trace}", throttle_duration_sec=5.0
        )


def _trace_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))
