"""Ports that a locked server gives to its guests."""

from collections.abc import Sequence

import pytest

from orchestrator_runtimes import network_locks
from orchestrator_runtimes.locked_networks import LockedNetwork


def test_a_guest_has_its_ports_alone_and_those_of_one_that_ended_come_last() -> None:
    network = LockedNetwork(8900, [(1, 2), (3, 4), (5, 6)])
    first = network.take_ports()
    second = network.take_ports()
    assert not set(first) & set(second)
    network.give_back(first)
    assert network.take_ports() == (5, 6)
    assert network.take_ports() == first


@pytest.mark.parametrize(
    ("port", "guests", "why"),
    [
        (0, 1, "the gateway's port is 0; it must be 1 to 65535"),
        (65_536, 1, "the gateway's port is 65536"),
        (8900, 6_000, "no 18000 ports of loopback are free, of 17000 that were tried"),
    ],
)
def test_what_cannot_be_locked_is_told_before_anything_is_locked(port: int, guests: int, why: str) -> None:
    with pytest.raises(OSError, match=why):
        LockedNetwork.close(port, guests=guests, each=3)


def test_a_machine_with_many_cores_has_ports_for_a_guest_on_each(monkeypatch: pytest.MonkeyPatch) -> None:
    locked: list[tuple[int, Sequence[int]]] = []

    def lock(port: int, own: Sequence[int]) -> None:
        locked.append((port, own))

    monkeypatch.setattr(network_locks, "lock", lock)
    network = LockedNetwork.close(8900, guests=1_001, each=3)
    taken = [port for _ in range(1_001) for port in network.take_ports()]
    assert locked == [(8900, taken)] and len(set(taken)) == 3_003
