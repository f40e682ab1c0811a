"""Tokens are of the gateway's clock, which may differ from this machine's."""

import email.utils
import secrets
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.tokens import BadToken, check_trusted, read
from orchestrator_resources.external_gateway import ExternalGateway, GatewayAddress, clock_ahead

SECRET = secrets.token_hex(32)
AHEAD = 900.0


class Ready(BaseHTTPRequestHandler):
    """A gateway that is ready, and whose clock is ahead."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"telemetry": false}')

    def date_time_string(self, timestamp: float | None = None) -> str:
        return email.utils.formatdate(time.time() + AHEAD, usegmt=True)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.fixture
def gateway() -> Iterator[ExternalGateway]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Ready) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield ExternalGateway(
            GatewayAddress(url=f"http://127.0.0.1:{server.server_address[1]}", secret=SECRET)
        )
        server.shutdown()
        thread.join()


def test_a_token_is_good_for_as_long_as_its_execution_by_the_gateways_clock(gateway: ExternalGateway) -> None:
    gateway.ready()
    token = gateway.model(execution="e", agent="a", inputs={}, seconds=30).api_key or ""
    there = time.time() + AHEAD
    assert there + 25 < read(SECRET.encode(), token, now=there).until < there + 35
    with pytest.raises(BadToken, match="expired"):
        read(SECRET.encode(), token, now=there + 120)
    check_trusted(SECRET.encode(), gateway.trusted_token(), now=there + 290)


@given(ahead=st.integers(-(10**6), 10**6), began=st.floats(0, 1), took=st.floats(0, 3))
def test_a_difference_is_found_to_the_second_and_none_where_none_can_be_seen(
    ahead: int, began: float, took: float
) -> None:
    asked = 1_700_000_000 + began
    date = email.utils.formatdate(asked + took / 2 + ahead, usegmt=True)
    found = clock_ahead(date, asked, asked + took)
    assert found == 0 if ahead == 0 else abs(found - ahead) <= 1 + took


@pytest.mark.parametrize("date", [None, "", "yesterday"])
def test_who_does_not_tell_the_time_is_taken_to_have_the_same(date: str | None) -> None:
    assert clock_ahead(date, 0.0, 1.0) == 0
