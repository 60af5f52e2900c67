"""The one table from what went wrong to what is answered, logged and counted."""

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response
from botocore.exceptions import BotoCoreError, ClientError

from byline.aws import error_name, is_passing
from byline.errors import Rejected, Unavailable
from serve_runs import metrics as sight
from serve_runs.web.problems import Problem, unauthorized, unavailable

logger = Logger(service="byline")


def answer_failure(error: Exception, *, request_id: str) -> Response[str]:
    """The answer to `error`, after it was logged and counted as its kind demands."""
    return _problem(error).response(request_id=request_id)


def profile_unavailable(error: Exception) -> None:
    """Log and count that what somebody is called was not kept, or not read: nothing else."""
    sight.count("ProfileUnavailable")
    logger.warning("profile unavailable", error=error_name(error))


def _problem(error: Exception) -> Problem:
    match error:
        case Problem():
            return error
        case Rejected():
            sight.count_rejected(error.reason)
            logger.warning(
                "caller rejected",
                reason=error.reason,
                detail=error.detail,
                expected=error.expected,
                actual=error.actual,
            )
            return unauthorized(error.reason, error.detail)
        case Unavailable():
            sight.count("Unavailable")
            logger.error("keys unavailable", source=error.source, detail=error.detail)
            return unavailable("keys_unavailable", "The caller's key cannot be had right now.")
        case ClientError() | BotoCoreError() if is_passing(error):
            sight.count("Unavailable")
            logger.error("store unavailable", error=error_name(error))
            return unavailable("store_unavailable", "It cannot be read or written right now.")
        case ClientError():
            # Without its text and traceback: AWS may quote what was sent, a secret too.
            sight.count("InternalError")
            logger.error("not foreseen", error=error_name(error), operation=error.operation_name)
        case _:
            sight.count("InternalError")
            logger.exception("not foreseen")  # noqa: LOG004 - runs while the error is handled
    return Problem(500, "internal", "Something went wrong on our side.")
