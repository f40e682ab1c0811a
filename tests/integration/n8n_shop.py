"""A server that n8n's nodes have effects at, which it counts."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

BYTES: Final = b"\x00\xff a picture"


class Shop:
    """What was done, by path, and what is answered.

    Attributes:
        done: How often each path was asked for.
        broken: Paths that answer with an error.
    """

    def __init__(self, address: str) -> None:
        """Begin with nothing done."""
        self.address: Final = address
        self.done: Counter[str] = Counter()
        self.broken: set[str] = set()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Do what a path says; return the status, the type and the body."""
        self.done[path] += 1
        if path in self.broken:
            return 500, "application/json", b'{"message": "broken"}'
        if path.startswith("/bytes"):
            return 200, "image/png", BYTES
        if path.startswith("/long"):
            return 200, "application/json", json.dumps({"text": "x" * 1_100_000}).encode()
        return 200, "application/json", json.dumps({"number": self.done.total(), "path": path}).encode()


@contextmanager
def shop() -> Iterator[Shop]:
    """Serve on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            status, kind, body = opened.answer(self.path)
            self.send_response(status)
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    opened = Shop(f"http://127.0.0.1:{server.server_address[1]}")
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield opened
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
