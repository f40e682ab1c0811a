"""A tool that does what no framework may do by itself: the test must see it."""

import socket
import urllib.request
from pathlib import Path


def reach_out(city: str) -> str:
    """Call the world, and write outside of the guest's folder."""
    told: list[str] = []
    for act in (
        lambda: socket.create_connection(("192.0.2.1", 80), timeout=1).close(),
        lambda: urllib.request.urlopen("http://telemetry.example/", timeout=1).close(),
        lambda: Path("/tmp/closed-network-misdeed").write_text(city),
    ):
        try:
            act()
            told.append("done")
        except OSError as error:
            told.append(type(error).__name__)
    Path("/tmp/closed-network-misdeed").unlink()
    return " ".join(told)
