"""Numbers of a gateway's host: nobody waits for a name server who has one already."""

import threading
import time

import pytest

from orchestrator_resources.gateway_numbers import GatewayNumber


class NameServer:
    """Answers with what is set, once it may."""

    def __init__(self) -> None:
        self.answer: str | None = "http://10.0.0.1:8900"
        self.may = threading.Event()
        self.may.set()
        self.asked = 0

    def resolve(self) -> str:
        self.asked += 1
        assert self.may.wait(10)
        if self.answer is None:
            raise OSError("no name server answers")
        return self.answer


def soon(number: GatewayNumber, wanted: str) -> bool:
    until = time.monotonic() + 10
    while number.current() != wanted and time.monotonic() < until:
        time.sleep(0.01)
    return number.current() == wanted


def test_a_name_server_that_is_slow_is_waited_for_once() -> None:
    server = NameServer()
    number = GatewayNumber(server.resolve, seconds=0)
    assert number.current() == "http://10.0.0.1:8900"
    server.may.clear()
    server.answer = "http://10.0.0.2:8900"
    assert {number.current() for _ in range(100)} == {"http://10.0.0.1:8900"} and server.asked == 2
    server.may.set()
    assert soon(number, "http://10.0.0.2:8900")


def test_a_number_outlives_the_name_server() -> None:
    server = NameServer()
    number = GatewayNumber(server.resolve, seconds=0)
    assert number.current() == "http://10.0.0.1:8900"
    server.answer = None
    assert number.refresh() == "http://10.0.0.1:8900" == number.current()
    server.answer = "http://10.0.0.2:8900"
    assert soon(number, "http://10.0.0.2:8900")


def test_a_number_that_is_fresh_is_not_asked_for() -> None:
    server = NameServer()
    number = GatewayNumber(server.resolve)
    assert {number.current() for _ in range(10)} == {"http://10.0.0.1:8900"} and server.asked == 1


def test_a_name_that_was_never_resolved_is_an_error_until_it_is() -> None:
    server = NameServer()
    server.answer = None
    number = GatewayNumber(server.resolve)
    with pytest.raises(OSError, match="no name server answers"):
        number.current()
    server.answer = "http://10.0.0.1:8900"
    assert number.current() == "http://10.0.0.1:8900"
