"""What was decided: who wanted what, of which tenant, whether they got it, and when."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

LONGEST_TEXT: Final = 500
FIRST_DIGEST: Final = "0" * 64
"""What the first record follows."""


@dataclass(frozen=True, kw_only=True)
class AuditEvent:
    """A decision.

    Attributes:
        actor: Who: `Identity.subject`, `machine:USER` for somebody at the command line, `nobody` for who is not known.
        action: What they wanted, such as `sign-in` or `run.launch`.
        tenant: Of which tenant; None where it is about none.
        target: To what they wanted to do it; may be empty.
        allowed: Whether they got it.
        reason: Why not, or further facts; may be empty.
    """

    actor: str
    action: str
    tenant: str | None
    target: str
    allowed: bool
    reason: str = ""


@dataclass(frozen=True, kw_only=True)
class AuditRecord:
    """A decision in the log.

    Attributes:
        number: From 1, without gaps.
        at: Unix time in microseconds.
        event: What was decided; its texts are cut, and have no characters that a terminal obeys.
        digest: SHA-256 of the digest before it and of this record; 64 hexadecimal digits.
        seal: Of the digest, by a secret of the platform; whoever can write the database cannot make it.
    """

    number: int
    at: int
    event: AuditEvent
    digest: str
    seal: str


class Tampered(Exception):
    """A log is not as it was written; the text says where."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where a log ends; kept elsewhere, it shows whether records were cut off.

    Attributes:
        number: Of the last record; 0 for an empty log.
        digest: Of the last record.
    """

    number: int
    digest: str


def chained(
    events: Iterable[AuditEvent], head: Head, *, at: Callable[[], int], key: bytes
) -> Iterator[AuditRecord]:
    """Yield events as the records that follow a head.

    Args:
        events: In their order.
        head: What they follow.
        at: Unix time in microseconds.
        key: Seals them.
    """
    number, digest = head.number, head.digest
    for event in events:
        number += 1
        plain, moment = _plain(event), at()
        digest = _digest(digest, number, moment, plain)
        yield AuditRecord(number=number, at=moment, event=plain, digest=digest, seal=_seal(key, digest))


def verify(records: Iterable[AuditRecord], keys: Sequence[bytes], expected: Head | None = None) -> Head:
    """Return where a log ends, after checking all of it.

    Args:
        records: All of them, in their order.
        keys: That may have sealed them; none checks the chain only, which whoever can write all of it can make anew.
        expected: Where it ended at some time, which must be in it; None expects nothing.

    Raises:
        Tampered: A record was changed, put in, taken out or moved, or the log is shorter than it was.
    """
    head = Head(number=0, digest=FIRST_DIGEST)
    seen = expected is None or expected == head
    for record in records:
        if record.number != head.number + 1:
            raise Tampered(
                f"after record {head.number} comes {record.number}: records are missing, or were put in"
            )
        if record.digest != _digest(head.digest, record.number, record.at, record.event):
            raise Tampered(f"record {record.number} was changed, or the one before it")
        if keys and not any(hmac.compare_digest(_seal(key, record.digest), record.seal) for key in keys):
            raise Tampered(f"record {record.number} was not sealed by this platform")
        head = Head(number=record.number, digest=record.digest)
        if expected is not None and head.number == expected.number:
            if head != expected:
                raise Tampered(f"record {head.number} is another one than it was")
            seen = True
    if expected is not None and not seen:
        raise Tampered(
            f"the log ends with record {head.number}, and had {expected.number}: its end was cut off"
        )
    return head


def written(record: AuditRecord) -> Mapping[str, Any]:
    """Return a record as JSON."""
    event = record.event
    return {
        "number": record.number,
        "at": record.at,
        "actor": event.actor,
        "action": event.action,
        "tenant": event.tenant,
        "target": event.target,
        "allowed": event.allowed,
        "reason": event.reason,
        "digest": record.digest,
        "seal": record.seal,
    }


def read(value: object) -> AuditRecord:
    """Return the record of what `written` returned.

    Raises:
        Tampered: It is none.
    """
    match cast("dict[str, object] | None", value):
        case {
            "number": int(number),
            "at": int(at),
            "actor": str(actor),
            "action": str(action),
            "tenant": str() | None as tenant,
            "target": str(target),
            "allowed": bool(allowed),
            "reason": str(reason),
            "digest": str(digest),
            "seal": str(seal),
            **rest,
        } if not rest:
            event = AuditEvent(
                actor=actor, action=action, tenant=tenant, target=target, allowed=allowed, reason=reason
            )
            return AuditRecord(number=number, at=at, event=event, digest=digest, seal=seal)
        case _:
            raise Tampered("a line is no record of an audit log")


def _plain(event: AuditEvent) -> AuditEvent:
    return AuditEvent(
        actor=_text(event.actor),
        action=_text(event.action),
        tenant=None if event.tenant is None else _text(event.tenant),
        target=_text(event.target),
        allowed=event.allowed,
        reason=_text(event.reason),
    )


def _text(text: str) -> str:
    cut = text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in cut)


def _digest(before: str, number: int, at: int, event: AuditEvent) -> str:
    fields = [
        before,
        number,
        at,
        event.actor,
        event.action,
        event.tenant,
        event.target,
        event.allowed,
        event.reason,
    ]
    return hashlib.sha256(json.dumps(fields, separators=(",", ":")).encode()).hexdigest()


def _seal(key: bytes, digest: str) -> str:
    return hmac.new(key, digest.encode(), "sha256").hexdigest()
