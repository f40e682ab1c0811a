"""Throttles let through what they say, and keep little."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tenancy.sign_in.throttles import Throttle, client_address


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_is_filled_again_in_a_minute() -> None:
    clock = Clock()
    throttle = Throttle(60, now=clock)
    assert [throttle.take("a") for _ in range(61)][-2:] == [0.0, 1.0]
    assert throttle.wait("a") == 1.0 and throttle.wait("b") == 0.0
    clock.now = 0.5
    assert throttle.take("a") == pytest.approx(0.5)
    clock.now = 1.0
    assert throttle.take("a") == 0.0 and throttle.take("a") > 0
    clock.now = 1_000.0
    assert sum(throttle.take("a") == 0 for _ in range(100)) == 60


def test_ten_thousand_a_minute_of_as_many_addresses_take_bounded_memory() -> None:
    throttle = Throttle(60, buckets=1_000)
    for number in range(10_000):
        assert throttle.take(f"10.0.{number // 250}.{number % 250}") == 0
    assert len(throttle) == 1_000


@given(st.lists(st.floats(min_value=0, max_value=5), max_size=200))
def test_no_order_of_tries_gets_more_than_its_share(pauses: list[float]) -> None:
    clock = Clock()
    throttle = Throttle(30, now=clock)
    let = 0
    for pause in pauses:
        clock.now += pause
        let += throttle.take("a") == 0
    assert let <= 30 + clock.now * 30 / 60 + 1e-6


@pytest.mark.parametrize(
    ("client", "forwarded", "proxies", "address"),
    [
        (("10.0.0.1", 1), [], 0, "10.0.0.1"),
        (("10.0.0.1", 1), [b"6.6.6.6"], 0, "10.0.0.1"),
        (("10.0.0.1", 1), [b"6.6.6.6, 7.7.7.7"], 1, "7.7.7.7"),
        (("10.0.0.1", 1), [b"6.6.6.6", b"7.7.7.7, 10.0.0.2"], 2, "7.7.7.7"),
        (("10.0.0.1", 1), [b"7.7.7.7"], 2, "10.0.0.1"),
        (("10.0.0.1", 1), [b"\xff\x00 rubbish"], 1, "elsewhere"),
        (("2001:db8::1", 1), [], 0, "2001:db8::/64"),
        (("2001:db8::ffff:1", 1), [], 0, "2001:db8::/64"),
        (("::ffff:10.0.0.1", 1), [], 0, "10.0.0.1"),
        (None, [], 0, "elsewhere"),
        (("testclient", 1), [], 0, "elsewhere"),
    ],
)
def test_an_address_is_the_one_that_nobody_can_write(
    client: Any, forwarded: list[bytes], proxies: int, address: str
) -> None:
    assert client_address(client, [(b"x-forwarded-for", value) for value in forwarded], proxies) == address
