"""Errors as OpenAI's interface tells them: a status, and `{"error": {message, type, param, code}}`."""

from typing import Any

_TYPES = {
    401: "authentication_error",
    429: "rate_limit_error",
    500: "server_error",
    503: "server_error",
    504: "timeout_error",
}


class ApiError(Exception):
    """What a client is told in place of an answer.

    Fields:
      status: of HTTP.
      message: one line: the value, what was expected, and the remedy.
      param: which parameter is wrong, such as `messages[2].content`; None where it is none of them.
      code: a word for programs, such as `context_length_exceeded`.
      headers: of the answer.
    """

    def __init__(
        self,
        status: int,
        message: str,
        *,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code
        self.headers = headers or {}

    @property
    def body(self) -> dict[str, Any]:
        kind = _TYPES.get(self.status, "invalid_request_error")
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code}}


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that is wrong in itself; status 400."""
    return ApiError(400, message, param=param, code=code)


def engine_failed() -> ApiError:
    return ApiError(500, "The engine has failed; the server's log says why. Start it again.", code="engine_failed")


def timed_out(seconds: float) -> ApiError:
    return ApiError(
        504, f"The request took longer than {seconds:g} s, the server's --request_timeout; ask for fewer tokens.",
        code="timeout",
    )  # fmt: skip
