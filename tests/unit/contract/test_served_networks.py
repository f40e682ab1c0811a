"""What a run says of guests of other containers that reach more or less than they must."""

import pytest

from orchestrator_runtimes.errors import ErrorCode
from orchestrator_runtimes.served_networks import ServedNetwork

LOCKED = ServedNetwork(gateway_port=8900, closed=True)


@pytest.mark.parametrize(
    ("expected", "reached"),
    [
        (ServedNetwork(), None),
        (ServedNetwork(gateway_port=8900, name="gateway"), None),
        (ServedNetwork(gateway_port=8900), 8900),
        (LOCKED, 8900),
    ],
)
def test_guests_that_reach_what_they_must_are_right(expected: ServedNetwork, reached: int | None) -> None:
    assert expected.fault("agno", reached) is None


@pytest.mark.parametrize(
    ("expected", "reached", "why"),
    [
        (
            LOCKED,
            None,
            "network is 'gateway', but the guest server of 'agno' leaves its guests' open: start it with"
            " --gateway-port 8900, or set network: open",
        ),
        (
            LOCKED,
            9000,
            "the guest server of 'agno' locks its guests to the port 9000, and the gateway is at 8900: start the server"
            " with --gateway-port 8900, or change gateway_url",
        ),
        (
            ServedNetwork(),
            8900,
            "the guest server of 'agno' locks its guests to the port 8900, and this run has a gateway of its own or"
            " none: set gateway_url",
        ),
        (
            ServedNetwork(gateway_port=8900, name="gateway"),
            8900,
            "the guest server of 'agno' locks its guests to the port 8900, so they cannot resolve 'gateway': set"
            " gateway_url to http, or to an address that the gateway's certificate names",
        ),
    ],
)
def test_what_is_wrong_is_told_in_a_line(expected: ServedNetwork, reached: int | None, why: str) -> None:
    fault = expected.fault("agno", reached)
    assert fault is not None
    assert (fault.code, fault.message) == (ErrorCode.INVALID_INPUT, why)
