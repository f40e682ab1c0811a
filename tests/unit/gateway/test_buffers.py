"""Memory of requests and answers is bounded, for all and for each tenant."""

import pytest

from orchestrator_gateway.buffers import Buffers, BuffersFull


def test_one_tenant_gets_half_and_what_is_given_back_is_free() -> None:
    buffers = Buffers(100)
    with buffers.account("a") as first, buffers.account("a") as second, buffers.account("b") as other:
        first.add(30)
        second.add(20)
        with pytest.raises(BuffersFull):
            second.add(1)
        other.add(50)
        with pytest.raises(BuffersFull):
            other.add(1)
        assert buffers.total == 100
    assert buffers.total == 0
    with buffers.account("a") as again:
        again.add(50)


def test_all_tenants_together_get_no_more_than_there_is() -> None:
    buffers = Buffers(100)
    with buffers.account("a") as a, buffers.account("b") as b, buffers.account("c") as c:
        a.add(40)
        b.add(40)
        with pytest.raises(BuffersFull):
            c.add(21)
        c.add(20)
