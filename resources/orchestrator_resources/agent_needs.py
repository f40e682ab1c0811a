"""What the agents of a run need: read from the tags of its steps, which a code location wrote and may have made up."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from orchestrator_resources.gpus import GpuRequest
from orchestrator_runtimes.codec import InvalidMessage, decode, encode
from orchestrator_runtimes.json_values import NotJson, dump, parse

TAG: Final = "orchestrator/agent"
"""Tag of an agent's step: JSON with `framework`, `environment` and, where it asks for GPUs, `gpu`."""

_TAG_CHARACTERS: Final = 2_000
_TYPE_CHARACTERS: Final = 63
_NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9]{0,62}[a-z0-9])?")
_MOST_GPUS: Final = 1_024


class BadNeed(ValueError):
    """A tag is none that this program writes; the text says what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class AgentNeed:
    """What one agent's step needs.

    Attributes:
        framework: Name of its framework.
        environment: Digest of the lock of its runtime profile, which names the image.
        gpu: GPUs that its guest computes on; None for none.
    """

    framework: str
    environment: str
    gpu: GpuRequest | None = None


def need_tag(need: AgentNeed) -> str:
    """Return the value of the tag that says what a step needs."""
    return dump(encode(need)).decode()


def needs_of(steps: Iterable[tuple[str, Mapping[str, str]]]) -> list[AgentNeed]:
    """Return what the agents among a run's steps need, each once, in a fixed order.

    Args:
        steps: Key and tags of each step that the run is to execute.

    Raises:
        BadNeed: A tag is none; the message names its step.
    """
    found: set[AgentNeed] = set()
    for key, tags in steps:
        if TAG not in tags:
            continue
        try:
            found.add(read_need(tags[TAG]))
        except BadNeed as error:
            raise BadNeed(f"the tag {TAG!r} of the step {key!r}: {error}") from error
    return sorted(found, key=need_tag)


def gpus_of(needs: Iterable[AgentNeed]) -> int:
    """Return how many GPUs agents need together: those of one environment share the GPUs of its guests."""
    most = dict[tuple[str, str], int]()
    for need in needs:
        environment = need.framework, need.environment
        most[environment] = max(most.get(environment, 0), 0 if need.gpu is None else need.gpu.count)
    return sum(most.values())


def read_need(text: str) -> AgentNeed:
    """Return what a tag says.

    Raises:
        BadNeed: It is not one.
    """
    if len(text) > _TAG_CHARACTERS:
        raise BadNeed(f"it is longer than {_TAG_CHARACTERS} characters")
    try:
        need = decode(AgentNeed, parse(text.encode()), where="", strict=True)
    except (NotJson, InvalidMessage, UnicodeEncodeError) as error:
        raise BadNeed(str(error)) from error
    for name in (need.framework, need.environment):
        if not _NAME.fullmatch(name):
            raise BadNeed(f"{name[:80]!r} is no name of a framework, and no digest")
    if need.gpu is not None:
        _check(need.gpu)
    return need


def _check(gpu: GpuRequest) -> None:
    if not 0 < gpu.count <= _MOST_GPUS or (gpu.memory_mb is not None and gpu.memory_mb <= 0):
        raise BadNeed(f"count of gpu is 1 to {_MOST_GPUS}, and memory_mb above 0")
    if gpu.type is not None and not 0 < len(gpu.type) <= _TYPE_CHARACTERS:
        raise BadNeed(f"type of gpu has 1 to {_TYPE_CHARACTERS} characters")
