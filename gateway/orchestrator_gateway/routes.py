"""Which endpoint a model name leads to: an alias to one of its targets by weight, then to its fallbacks in order."""

import random
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator_gateway.secret_sources import SecretSource


def positive(**values: float | None) -> None:
    """Refuse numbers that are not above zero; None is no limit.

    Raises:
        ValueError: One is not; the text names it.
    """
    for name, value in values.items():
        if value is not None and not 0 < value < float("inf"):
            raise ValueError(f"{name} must be above 0, not {value}")


@dataclass(frozen=True, kw_only=True)
class BreakerSettings:
    """When an upstream is left alone for a while.

    Attributes:
        failures: How many faults in a row open its breaker. One call tries four times: 5 are more than its bad luck.
        open_seconds: How long nothing is sent then; after it one call tries whether it is well again. Each trial that
            fails doubles the time, up to two minutes.
    """

    failures: int = 5
    open_seconds: float = 5.0

    def __post_init__(self) -> None:
        """Refuse numbers that make no sense."""
        positive(failures=self.failures, open_seconds=self.open_seconds)


@dataclass(frozen=True, kw_only=True)
class UpstreamSettings:
    """A model endpoint, as the file names it.

    Attributes:
        base_url: Up to and with `/v1`.
        api_key: Where its bearer token stands; None when it wants none.
        max_concurrent: Most calls at once; None sets no limit.
        requests_per_minute: Most requests in a minute, retries among them; None sets no limit.
        max_waiting: Most calls that wait for their turn, of all tenants; a further one is answered 429 at once.
        connect_seconds: How long a connection may take.
        silence_seconds: How long it may say nothing: a model thinks, it does not stop.
        breaker: When it is left alone for a while.
    """

    base_url: str
    api_key: SecretSource | None = None
    max_concurrent: int | None = None
    requests_per_minute: int | None = None
    max_waiting: int = 1_000
    connect_seconds: float = 10.0
    silence_seconds: float = 300.0
    breaker: BreakerSettings = field(default_factory=BreakerSettings)

    def __post_init__(self) -> None:
        """Refuse an address that is none and numbers that make no sense."""
        try:
            address = urllib.parse.urlsplit(self.base_url)
            known = address.scheme in ("http", "https") and bool(address.hostname)
            _ = address.port
        except ValueError:
            known = False
        if not known:
            raise ValueError("base_url must be an http or https address, such as https://example.org/v1")
        if "@" in self.base_url:
            raise ValueError("base_url must hold no key or password: name where it stands in api_key")
        positive(
            max_concurrent=self.max_concurrent,
            requests_per_minute=self.requests_per_minute,
            max_waiting=self.max_waiting,
            connect_seconds=self.connect_seconds,
            silence_seconds=self.silence_seconds,
        )


@dataclass(frozen=True, kw_only=True)
class Target:
    """One model of one upstream.

    Attributes:
        upstream: Its name in `upstreams`.
        model: What it calls the model.
        weight: Share of the calls, against the other targets of the alias; fallbacks do not use it.
    """

    upstream: str
    model: str
    weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a weight that is no share."""
        positive(weight=self.weight)


@dataclass(frozen=True, kw_only=True)
class Model:
    """What an alias stands for.

    Attributes:
        targets: One of them is chosen by weight for each execution, which keeps it: what a provider caches for the
            beginning of a conversation is of use only there.
        fallbacks: Asked in order when the chosen one and the other targets cannot serve.
    """

    targets: tuple[Target, ...]
    fallbacks: tuple[Target, ...] = ()

    def __post_init__(self) -> None:
        """Refuse an alias for nothing."""
        if not self.targets:
            raise ValueError("targets must name one at least")


@dataclass(frozen=True, kw_only=True)
class Default:
    """Where calls go whose model is no alias; its name is passed on as it is.

    Attributes:
        upstream: Its name in `upstreams`.
        fallbacks: Names of upstreams that know the same models, asked in order when it cannot serve.
    """

    upstream: str
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Route:
    """One place that a call may go to.

    Attributes:
        upstream: Its name.
        model: The name that the request's body gets; None leaves it as it is.
        fallback: Whether it is only for when no other place can serve.
    """

    upstream: str
    model: str | None
    fallback: bool = False


def routes(
    models: Mapping[str, Model], default: Default | None, name: str | None, seed: str
) -> Sequence[Route]:
    """Return where a call may go, in the order in which it is tried; empty when its model is not known.

    Args:
        models: The aliases.
        default: For names that are no alias; None knows none.
        name: The model that the guest asks for; None when it names none.
        seed: What the choice by weight depends on: equal seeds get equal orders.
    """
    model = models.get(name) if name is not None else None
    if model is None:
        if default is None:
            return []
        spare = [Route(upstream=upstream, model=None, fallback=True) for upstream in default.fallbacks]
        return [Route(upstream=default.upstream, model=None), *spare]
    targets = _by_weight(model.targets, random.Random(seed).random)
    return [
        *(Route(upstream=target.upstream, model=target.model) for target in targets),
        *(Route(upstream=spare.upstream, model=spare.model, fallback=True) for spare in model.fallbacks),
    ]


def _by_weight(targets: Sequence[Target], uniform: Callable[[], float]) -> list[Target]:
    """Return the targets in a random order in which each comes first as often as its weight says.

    Source: Efraimidis and Spirakis, Weighted random sampling with a reservoir, IPL 97 (2006).
    """
    return sorted(targets, key=lambda target: uniform() ** (1 / target.weight), reverse=True)
