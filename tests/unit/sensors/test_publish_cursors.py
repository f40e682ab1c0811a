"""What a sensor remembers between looks."""

from hypothesis import given
from hypothesis import strategies as st

from orchestrator_sensors.publish_sensors import Late, Seen, read_cursor, written_cursor

VERSIONS = st.dictionaries(st.from_regex(r"[0-9]\.[0-9]\.[0-9]", fullmatch=True), st.text(max_size=80))


SECONDS = st.floats(0, 2**33)
LATE = st.dictionaries(
    st.just("1.2.0"),
    st.builds(Late, publish=st.text(max_size=80), tries=st.integers(1, 99), since=SECONDS, until=SECONDS),
)


@given(versions=VERSIONS, late=LATE)
def test_a_cursor_is_read_as_it_was_written(versions: dict[str, str], late: dict[str, Late]) -> None:
    seen = Seen(versions=versions, late=late)
    assert read_cursor(written_cursor(seen)) == seen


def test_a_cursor_of_before_there_were_late_publishes_is_read() -> None:
    assert read_cursor('{"versions":{"1.2.0":"d"}}') == Seen(versions={"1.2.0": "d"})


@given(text=st.none() | st.text())
def test_what_is_no_cursor_is_as_none(text: str | None) -> None:
    assert read_cursor(text) is None or (text or "").lstrip().startswith("{")
