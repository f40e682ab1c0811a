"""Registries that bundles are sent to and fetched from: a real one, and one that does what a test wants."""

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Generator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from orchestrator_tools.cluster.places import places
from orchestrator_tools.cluster.registry import registry

type_of_handler = Callable[[BaseHTTPRequestHandler], None]


@contextlib.contextmanager
def real_registry(folder: Path) -> Generator[str]:
    """Have a registry of images, and yield its name: `localhost:port`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with registry(places().cache, folder, port=port) as name:
        yield name


@contextlib.contextmanager
def odd_registry(answer: type_of_handler, context: ssl.SSLContext | None = None) -> Generator[str]:
    """Have a server each of whose answers a function gives, by TLS where that has a context; yield its name."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            with contextlib.suppress(ConnectionError):
                answer(self)

        do_GET = do_HEAD = do_PUT = do_POST = do_PATCH = _answer  # noqa: N815  # names of the base class

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        # the handshake is for the thread of the request
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"localhost:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def say(handler: BaseHTTPRequestHandler, status: int, content: bytes = b"", **headers: str) -> None:
    """Send an answer; `_` in names of headers stands for `-`."""
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name.replace("_", "-"), value)
    if "content_length" not in headers:
        handler.send_header("content-length", str(len(content)))
    handler.end_headers()
    if handler.command != "HEAD":
        handler.wfile.write(content)
