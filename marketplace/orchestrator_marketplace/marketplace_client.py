"""A marketplace that is reached over HTTP; see `marketplaces`."""

import time
from collections.abc import Mapping
from typing import Final, TypeVar
from urllib.parse import quote

import httpx

from orchestrator_marketplace.authorities import trusted
from orchestrator_marketplace.evidence import Evidence
from orchestrator_marketplace.marketplaces import (
    LONGEST_WAIT_SECONDS,
    MOST_AT_ONCE,
    Events,
    Listing,
    Listings,
    Marketplace,
    MarketplaceError,
    Problem,
    PublisherKeys,
    Query,
    Ratings,
    Subscription,
)
from orchestrator_marketplace.usage_reports import UsageReceipt, UsageReports
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.json_values import Json, NotJson, parse

T = TypeVar("T")

ANSWER_BYTES: Final = 256 * 2**20
ANSWER_SECONDS: Final = LONGEST_WAIT_SECONDS + 15.0
"""Of one answer, whole: one that gives a byte now and then ends here."""

_TIMEOUT: Final = httpx.Timeout(LONGEST_WAIT_SECONDS + 15.0, connect=10.0)


class HttpMarketplace(Marketplace):
    """See the module.

    Args:
        url: Of the service, without `/v1`.

    Raises:
        MarketplaceError: `malformed` when what `ORCHESTRATOR_MARKETPLACE_CA_FILE` names cannot be used.
    """

    def __init__(self, url: str) -> None:
        """Connect to nothing yet."""
        self._http = httpx.Client(
            base_url=url, timeout=_TIMEOUT, headers={"accept-encoding": "identity"}, verify=trusted()
        )

    def close(self) -> None:
        """End all connections."""
        self._http.close()

    def search(self, query: Query) -> Listings:
        """See `Marketplace`."""
        asked = {key: str(value) for key, value in encode(query).items()}
        return self._get(Listings, "/v1/bundles", asked)

    def versions(self, name: str) -> tuple[Listing, ...]:
        """See `Marketplace`."""
        return self._get(Listings, f"/v1/bundles/{_path(name)}").listings

    def version(self, name: str, version: str) -> Listing:
        """See `Marketplace`."""
        return self._get(Listing, f"/v1/bundles/{_path(name)}/{quote(version, safe='')}")

    def evidence(self, name: str, version: str) -> Evidence:
        """See `Marketplace`."""
        return self._get(Evidence, f"/v1/bundles/{_path(name)}/{quote(version, safe='')}/evidence")

    def history(self, name: str) -> Events:
        """See `Marketplace`."""
        return self._get(Events, f"/v1/history/{_path(name)}")

    def publisher(self, name: str) -> PublisherKeys:
        """See `Marketplace`."""
        return self._get(PublisherKeys, f"/v1/publishers/{quote(name, safe='')}")

    def ratings(self, name: str, *, limit: int = MOST_AT_ONCE, after: str | None = None) -> Ratings:
        """See `Marketplace`."""
        asked = {"limit": str(limit)} if after is None else {"limit": str(limit), "after": after}
        return self._get(Ratings, f"/v1/ratings/{_path(name)}", asked)

    def events(self, after: int, *, limit: int = MOST_AT_ONCE, wait_seconds: float = 0.0) -> Events:
        """See `Marketplace`."""
        asked = {"cursor": str(after), "limit": str(limit), "wait_seconds": str(wait_seconds)}
        return self._get(Events, "/v1/events", asked)

    def report_usage(self, report: bytes) -> UsageReceipt:
        """See `Marketplace`."""
        return _read(UsageReceipt, self._ask("POST", "/v1/usage/reports", content=report))

    def usage(self, question: bytes) -> UsageReports:
        """See `Marketplace`."""
        return _read(UsageReports, self._ask("POST", "/v1/usage/questions", content=question))

    def act(self, action: bytes) -> Listing | None:
        """See `Marketplace`."""
        content = self._ask("POST", "/v1/actions", content=action)
        return None if not content else _read(Listing, content)

    def subscribe(self, action: bytes) -> Subscription:
        """See `Marketplace`."""
        return _read(Subscription, self._ask("POST", "/v1/subscriptions", content=action))

    def subscription(self, subscription: str) -> Subscription:
        """See `Marketplace`."""
        return self._get(Subscription, f"/v1/subscriptions/{quote(subscription, safe='')}")

    def _get(self, kind: type[T], path: str, asked: Mapping[str, str] | None = None) -> T:
        return _read(kind, self._ask("GET", path, asked))

    def _ask(
        self, method: str, path: str, asked: Mapping[str, str] | None = None, content: bytes | None = None
    ) -> bytes:
        until = time.monotonic() + ANSWER_SECONDS
        try:
            with self._http.stream(method, path, params=asked, content=content) as response:
                body = b""
                for piece in response.iter_raw():
                    body += piece
                    if len(body) > ANSWER_BYTES:
                        raise MarketplaceError(
                            Problem.UNAVAILABLE, f"the answer is longer than {ANSWER_BYTES} bytes"
                        )
                    if time.monotonic() > until:
                        raise MarketplaceError(
                            Problem.UNAVAILABLE, f"the answer is not there after {ANSWER_SECONDS:.0f} s"
                        )
                status = response.status_code
        except httpx.HTTPError as error:
            raise MarketplaceError(
                Problem.UNAVAILABLE,
                f"the marketplace {self._http.base_url} does not answer",
                cause=str(error),
            ) from error
        if status not in (200, 204):
            raise _problem(status, body)
        return body


def _path(name: str) -> str:
    publisher, _, agent = name.partition("/")
    return f"{quote(publisher, safe='')}/{quote(agent, safe='')}"


def _read(kind: type[T], content: bytes) -> T:
    try:
        return decode(kind, parse(content), "answer")
    except (NotJson, InvalidMessage) as error:
        raise MarketplaceError(
            Problem.UNAVAILABLE, "the marketplace's answer is none of this interface", cause=str(error)
        ) from error


def _problem(status: int, content: bytes) -> MarketplaceError:
    try:
        told: Json = parse(content)
        if isinstance(told, dict):
            said = "".join(one if one.isprintable() else "?" for one in str(told.get("message"))[:2_000])
            cursor = told.get("cursor")
            return MarketplaceError(
                Problem(str(told.get("problem"))),
                said,
                cursor=cursor if isinstance(cursor, int) and not isinstance(cursor, bool) else None,
            )
    except (NotJson, ValueError):
        pass  # not one of ours answers
    kind = Problem.UNAVAILABLE if status >= 500 else Problem.MALFORMED
    return MarketplaceError(
        kind, f"the marketplace answers {status}", cause=content[:200].decode(errors="replace")
    )
