"""What stood against an answer: one exception that carries a result code, and how errors become one."""

from __future__ import annotations

from ovseg_ros.errors import InvalidInputError, OutOfMemoryError, OvsegError
from ovseg_ros.msg import ResultCode


class RequestError(Exception):
    """A request that cannot be answered, with the code and the sentence that its reply will carry."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


class Overdue(RequestError):
    """Inference takes longer than it ever may; nobody is to wait for it."""

    def __init__(self, seconds: float, limit_s: float) -> None:
        super().__init__(
            ResultCode.INTERNAL,
            f"inference has not returned for {seconds:.1f} s, max_inference_time is {limit_s:g} s; where it "
            "stands is in the log. The node goes on by itself if it returns; else clean it up, or start it "
            "anew",
        )


def request_error_of(error: BaseException) -> RequestError:
    """What tells of any error raised while a request was worked on."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, InvalidInputError):
        return RequestError(ResultCode.INVALID_QUERY, str(error))
    if isinstance(error, (OutOfMemoryError, MemoryError)) or type(error).__name__ == "OutOfMemoryError":
        # The last is PyTorch's, from where nobody tries a second time with less.
        return RequestError(ResultCode.OUT_OF_MEMORY, str(error))
    if isinstance(error, OvsegError):
        return RequestError(ResultCode.INTERNAL, str(error))
    return RequestError(ResultCode.INTERNAL, f"{type(error).__name__}: {error}")


def without_traceback(error: BaseException) -> BaseException:
    """The same error for later, without the frames it came through: these hold the memory of what failed."""
    kind = type(error)
    again: BaseException = kind.__new__(kind, *error.args)  # past __init__, whose arguments are not known
    again.args = error.args
    again.__dict__.update(error.__dict__)
    return again


def name_of(code: int) -> str:
    """'FOUND' for 0 and so on; the number itself where it has no name."""
    return next((name for name in CODE_NAMES if getattr(ResultCode, name) == code), str(code))


CODE_NAMES = (
    "FOUND",
    "NOT_FOUND",
    "NO_IMAGE",
    "STALE_IMAGE",
    "INVALID_QUERY",
    "BUSY",
    "OUT_OF_MEMORY",
    "NO_DEPTH",
    "INACTIVE",
    "LOST",
    "REMEMBERED",
    "INTERNAL",
)
