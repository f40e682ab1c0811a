"""`python -m orchestrator_resources.gateway_relay`: guests that hold no authority reach a gateway that speaks TLS.

It listens beside them, on the loopback of their pod or machine, and nothing that they say leaves it in the clear.
"""

import argparse
import asyncio
import logging
import signal
import sys
from pathlib import Path
from typing import Final

import uvloop

from orchestrator_gateway.tls_files import Authorities, BadTlsFile
from orchestrator_resources.gateway_urls import BadGatewayUrl, GatewayUrl
from orchestrator_resources.tls_relays import RelayFailed, to_tls

HOST: Final = "127.0.0.1"


async def serve(gateway: GatewayUrl, authorities: Authorities, port: int) -> None:
    """Relay until SIGTERM or SIGINT.

    Args:
        gateway: Where the gateway is.
        authorities: Who may have signed its certificate.
        port: Where guests find it, on loopback.

    Raises:
        RelayFailed: The port is taken.
    """
    loop, ending = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ending.set)
    relay = to_tls(gateway.host, gateway.port, authorities)
    await relay.open(HOST, port)
    await ending.wait()
    await relay.close()


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_resources.gateway_relay", description=__doc__)
    parser.add_argument("--gateway", required=True, help="its base URL, such as https://gateway:8900")
    parser.add_argument("--ca", type=Path, help="certificates that verify it (PEM); default the system's")
    parser.add_argument("--port", type=int, help="where guests find it; default the gateway's own")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        gateway = GatewayUrl.parse(options.gateway, "--gateway")
        if gateway.scheme != "https":
            raise BadGatewayUrl(
                f"--gateway is {options.gateway!r}, which speaks no TLS: guests need no relay"
            )
        uvloop.run(serve(gateway, Authorities(options.ca), options.port or gateway.port))
    except (BadGatewayUrl, BadTlsFile, RelayFailed) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
