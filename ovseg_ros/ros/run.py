"""The program `ovseg_node`: the node from its start to its end. What takes long to import comes late."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ovseg_ros.ros.ending import Ending, guard_start, leave
from ovseg_ros.ros.process import prepare_process

if TYPE_CHECKING:
    from ovseg_ros.ros.parameters.table import Settings

STOP_TIMEOUT_S = 1.5  # for inference to end by itself when the process is to end


def main(args: list[str] | None = None, make_segmenter: Callable[[Settings], Any] | None = None) -> int:
    """Runs the node until it is told to end; the exit status is 1 where it could not start, else 0.

    SIGINT and SIGTERM end it with 0 from here on, and are ignored afterwards.
    """
    with Ending() as ending:
        prepare_process()  # before rclpy is loaded, which starts threads
        status, stopped = _run(ending, args, make_segmenter)
        if not stopped:
            # A network in mid-inference cannot be interrupted; do not wait for it in the interpreter's exit.
            sys.stderr.flush()
            os._exit(status)
    return status


def _run(
    ending: Ending, args: list[str] | None, make_segmenter: Callable[[Settings], Any] | None
) -> tuple[int, bool]:
    """The exit status, and whether the inference thread has ended."""
    try:
        import rclpy
        from rclpy.exceptions import ParameterException
        from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
        from rclpy.signals import SignalHandlerOptions

        from ovseg_ros.errors import ConfigError
        from ovseg_ros.ros.inference.loading import StartFailed, load_segmenter
        from ovseg_ros.ros.node import OvsegNode
    except ModuleNotFoundError as error:
        from ovseg_ros.errors import missing_module

        sys.exit(f"ovseg_node: {missing_module(error)}")

    ending.begin()
    rclpy.init(args=args, signal_handler_options=SignalHandlerOptions.NO)
    node, executor, status, stopped = None, None, 0, True
    try:
        node = OvsegNode(make_segmenter or load_segmenter, is_ending=lambda: ending.requested)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        while rclpy.ok() and not ending.requested:  # a timer of the node's wakes it ten times a second
            executor.spin_once()
    except ExternalShutdownException:
        pass
    except StartFailed:
        status = int(rclpy.ok())
    except (ConfigError, ParameterException) as error:
        rclpy.logging.get_logger("ovseg").fatal(str(error))
        status = 1
    except Exception:
        if rclpy.ok():
            raise
        # Somebody took the context away under a callback.
    finally:
        if node is not None:
            stopped = node.close(STOP_TIMEOUT_S)
        if executor is not None:
            executor.shutdown(timeout_sec=0)  # or it may end after what it holds, with a traceback
        if node is not None:
            with contextlib.suppress(Exception):  # of handles that went with the context
                node.destroy_node()
        rclpy.try_shutdown()
    return 0 if ending.requested else status, stopped


if __name__ == "__main__":
    guard_start()
    leave(main())
