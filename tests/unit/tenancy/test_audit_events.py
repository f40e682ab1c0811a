"""The chain of an audit log shows each change."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tenancy.audit.events import (
    FIRST_DIGEST,
    AuditEvent,
    AuditRecord,
    Head,
    Tampered,
    chained,
    read,
    verify,
    written,
)

KEY = b"k"
TEXT = st.text(max_size=20)
EVENTS = st.builds(
    AuditEvent,
    actor=TEXT,
    action=TEXT,
    tenant=st.none() | TEXT,
    target=TEXT,
    allowed=st.booleans(),
    reason=TEXT,
)


def log_of(events: list[AuditEvent]) -> list[AuditRecord]:
    return list(chained(events, Head(number=0, digest=FIRST_DIGEST), at=lambda: 7, key=KEY))


@given(st.lists(EVENTS, max_size=6))
def test_a_log_is_whole_and_comes_back_from_its_export(events: list[AuditEvent]) -> None:
    log = log_of(events)
    lines = [json.dumps(written(record)) for record in log]
    assert [read(json.loads(line)) for line in lines] == log
    assert verify(log, [KEY]).number == len(events)


@given(st.lists(EVENTS, min_size=3, max_size=6), st.data())
def test_each_change_is_found(events: list[AuditEvent], data: st.DataObject) -> None:
    log = log_of(events)
    head = verify(log, [KEY])
    at = data.draw(st.integers(0, len(log) - 1))
    one = log[at]
    event = one.event
    for other in (
        replace(one, event=replace(event, allowed=not event.allowed)),
        replace(one, event=replace(event, tenant="x" if event.tenant != "x" else None)),
        replace(one, event=replace(event, actor=f"{event.actor}x")),
        replace(one, event=replace(event, target=event.target + event.reason, reason="y")),
        replace(one, at=one.at + 1),
        replace(one, number=one.number + 1),
        replace(one, digest=one.digest[::-1].replace("0", "1") + ""),
        replace(one, seal="0" * 64),
    ):
        if other != one:
            with pytest.raises(Tampered):
                verify([*log[:at], other, *log[at + 1 :]], [KEY], head)
    with pytest.raises(Tampered):
        verify([*log[:at], *log[at + 1 :]], [KEY], head)
    with pytest.raises(Tampered):
        verify([*log[: at + 1], log[at], *log[at + 1 :]], [KEY], head)


@pytest.mark.parametrize(
    "value",
    [
        None,
        [],
        {},
        7,
        {"number": "1"},
        {
            **written(log_of([AuditEvent(actor="a", action="b", tenant=None, target="", allowed=True)])[0]),
            "more": 1,
        },
    ],
)
def test_a_line_that_is_no_record_is_told_of(value: object) -> None:
    with pytest.raises(Tampered, match="no record"):
        read(value)
