"""Requests to one registry: bounded in bytes, time and tries, and never led astray."""

import contextlib
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final, TypeVar

import httpx

from orchestrator_marketplace.references import Reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registry_authentication import RegistryAuthentication, docker_credentials
from orchestrator_marketplace.registry_errors import RegistryDenied, RegistryUnavailable

T = TypeVar("T")

TRIES: Final = 4
ANSWER_BYTES: Final = 1 * 2**20

_TIMEOUT: Final = httpx.Timeout(30.0, connect=10.0)
_FIRST_WAIT_SECONDS: Final = 0.2
_REDIRECTS: Final = 3
_LATER: Final = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class Ask:
    """A request.

    Attributes:
        method: Of HTTP.
        url: Absolute.
        headers: By name.
        content: None sends no body.
    """

    method: str
    url: str
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    content: bytes | None = None


@dataclass(frozen=True, kw_only=True)
class Answer:
    """A short answer, whole."""

    status: int
    headers: httpx.Headers
    content: bytes


class RegistryConnection:
    """Requests to one registry.

    Args:
        reference: Whose registry is meant.
        insecure: Whether a registry that is not on this machine is spoken to by plain HTTP.
        sleep: Waits seconds between tries.
    """

    def __init__(
        self, reference: Reference, *, insecure: bool = False, sleep: Callable[[float], object] = time.sleep
    ) -> None:
        """Connect to nothing yet."""
        self._plain = insecure or reference.is_loopback
        self._sleep = sleep
        self._registry = reference.registry
        self.root = httpx.URL(f"{'http' if self._plain else 'https'}://{reference.registry}")
        self._authentication = RegistryAuthentication(
            docker_credentials(reference.registry), plain=self._plain
        )
        self._http = httpx.Client(
            timeout=_TIMEOUT,
            headers={"accept-encoding": "identity", "user-agent": "agent-orchestrator"},
            trust_env=not reference.is_loopback,  # a proxy leads elsewhere
        )

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def patiently(self, what: str, work: Callable[[], T]) -> T:
        """Return what work returns; try it again when a connection breaks, with growing waits.

        Raises:
            RegistryUnavailable: It broke every time.
        """
        for number in range(TRIES - 1):
            with contextlib.suppress(httpx.HTTPError):
                return work()
            self._sleep(_FIRST_WAIT_SECONDS * 2**number)
        try:
            return work()
        except httpx.HTTPError as error:
            cause = f"{type(error).__name__}: {error}"
            raise RegistryUnavailable(f"{what}: {TRIES} tries failed", cause=cause) from error

    def ask(self, ask: Ask, *expected: int, once: bool = False) -> Answer:
        """Return the answer to a request.

        Args:
            ask: The request.
            expected: Status codes that are no error.
            once: Whether another try would do something else.

        Raises:
            RegistryUnavailable: No answer, or one that says that it may be another later.
            RegistryDenied: A status that is not expected.
            BundleRefused: `oversized`, `bomb`.
            httpx.HTTPError: Only with `once`: the connection broke.
        """

        def work() -> Answer:
            with self.stream(ask) as response:
                content = b"" if ask.method == "HEAD" else b"".join(bounded(response, ANSWER_BYTES))
                if response.status_code in _LATER:
                    raise httpx.RemoteProtocolError(f"status {response.status_code}: {content[:200]!r}")
                return Answer(status=response.status_code, headers=response.headers, content=content)

        answer = work() if once else self.patiently(f"{self._registry} does not answer", work)
        if answer.status not in expected:
            raise self.denied(ask, answer.status, answer.content)
        return answer

    @contextlib.contextmanager
    def stream(self, ask: Ask) -> Generator[httpx.Response]:
        """Send a request and yield the answer before its body; where it leads on, go there without passwords."""
        url = httpx.URL(ask.url)
        challenged, redirects = False, 0
        with contextlib.ExitStack() as stack:
            while True:
                is_here = self._is_here(url)
                headers = {**ask.headers, **(self._authentication.headers if is_here else {})}
                request = self._http.build_request(ask.method, url, headers=headers, content=ask.content)
                response = self._http.send(request, auth=None, stream=True)
                stack.callback(response.close)
                if response.status_code == 401 and is_here and not challenged:
                    challenged = True
                    if self._authentication.answer(response.headers.get("www-authenticate", ""), self._get):
                        continue
                if not response.has_redirect_location:
                    yield response
                    return
                url = self._joined(url, response.headers["location"])
                redirects += 1
                led = f"{self._registry} leads {ask.method} to {str(url)!r:.200}"
                if ask.method not in ("GET", "HEAD") or not (url.scheme == "https" or self._plain):
                    raise RegistryDenied(f"{led}, where nothing is sent")
                if redirects > _REDIRECTS:
                    raise RegistryDenied(f"{led}, after {_REDIRECTS} other places")

    def _get(self, url: httpx.URL, headers: dict[str, str]) -> tuple[int, bytes]:
        """Return the answer of whoever gives tokens."""
        response = self._http.send(
            self._http.build_request("GET", url, headers=headers), auth=None, stream=True
        )
        with contextlib.closing(response):
            return response.status_code, b"".join(bounded(response, ANSWER_BYTES))

    def here(self, location: str) -> str:
        """Return where an upload goes on; it is the same registry, which alone gets bytes.

        Raises:
            RegistryDenied: It is elsewhere.
        """
        url = self._joined(self.root, location)
        if not self._is_here(url):
            raise RegistryDenied(f"{self._registry} sends uploads elsewhere: {str(url)!r:.200}")
        return str(url)

    def _joined(self, url: httpx.URL, location: str) -> httpx.URL:
        try:
            return url.join(location)
        except httpx.InvalidURL as error:
            raise RegistryDenied(
                f"{self._registry} leads to {location!r:.200}, which is no address"
            ) from error

    def _is_here(self, url: httpx.URL) -> bool:
        return (url.scheme, url.netloc) == (self.root.scheme, self.root.netloc)

    def denied(self, ask: Ask, status: int, content: bytes) -> RegistryDenied:
        """Return the error of a status."""
        remedy = ": log in with `docker login` or `oras login`" if status in (401, 403) else ""
        return RegistryDenied(
            f"{self._registry} answers {status} to {ask.method} {httpx.URL(ask.url).path:.300}{remedy}",
            cause=content[:500].decode(errors="replace") or None,
        )


def bounded(response: httpx.Response, most: int) -> Iterator[bytes]:
    """Yield an answer's bytes as they are sent, at most `most`.

    Raises:
        BundleRefused: `oversized`, or `bomb` when they are compressed, which nobody asked for.
    """
    if response.headers.get("content-encoding", "identity") != "identity":
        raise BundleRefused(Refusal.BOMB, "the registry compresses what it was asked not to")
    total = 0
    for piece in response.iter_raw():
        total += len(piece)
        if total > most:
            raise BundleRefused(Refusal.OVERSIZED, f"the registry sends more than {most} bytes")
        yield piece
