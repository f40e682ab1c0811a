"""What the API server answers, as JSON; the errors of its client end here."""
# the Kubernetes client is typed in part:
# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportMissingTypeStubs=false

import contextlib
import json
from collections.abc import Callable, Generator
from typing import Any, Final

from kubernetes.client.exceptions import ApiException  # type: ignore[import-untyped]
from urllib3.exceptions import HTTPError

from orchestrator_cluster.cluster_errors import ClusterAway
from orchestrator_cluster.lost_pods import Manifest

ASK_SECONDS: Final = 30.0

_WORDS: Final = 300


@contextlib.contextmanager
def asking() -> Generator[None]:
    """Turn what goes wrong in a block that asks the API server into one error.

    Raises:
        ClusterAway: The API server does not answer, or refuses; the cause is the client's own error.
    """
    try:
        yield
    except (ApiException, HTTPError, OSError) as error:
        raise ClusterAway(_told(error)) from error


def answer(ask: Callable[..., Any], *words: Any, **more: Any) -> Any:
    """Return what a method of the client gets, as JSON.

    Raises:
        ClusterAway: See `asking`; or it is no JSON.
    """
    with asking():
        content = ask(*words, **more, _preload_content=False, _request_timeout=ASK_SECONDS).data  # read here
    try:
        return json.loads(content)
    except ValueError as error:
        raise ClusterAway(f"it answers no JSON: {error}") from error


def items(ask: Callable[..., Any], *words: Any, **more: Any) -> list[Manifest]:
    """Return what a method of the client lists; errors as those of `answer`."""
    return list(answer(ask, *words, **more)["items"] or ())


def status_of(error: ClusterAway) -> int | None:
    """Return the HTTP status of a refusal; None where there was no answer."""
    return error.__cause__.status if isinstance(error.__cause__, ApiException) else None


def _told(error: Exception) -> str:
    """Return what is wrong in one line. What an answer says for people comes after its headers, which nobody wants."""
    if not isinstance(error, ApiException):
        return " ".join(str(error).split())[:_WORDS]
    told = error.body or ""
    with contextlib.suppress(ValueError, KeyError, TypeError):
        told = json.loads(told)["message"]
    return " ".join(f"{error.status} {error.reason}: {told}".split())[:_WORDS]
