"""An API server that keeps Secrets and namespaces, for a process whose KUBECONFIG names it."""

import contextlib
import json
import re
import threading
import urllib.parse
from collections.abc import Generator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml

_PLACE = re.compile(r"/api/v1/namespaces/([^/]+)/secrets(?:/([^/]+))?")


class SecretServer(ThreadingHTTPServer):
    """Keeps what it is given.

    Attributes:
        secrets: By namespace and name.
        namespaces: By name.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.secrets: dict[tuple[str, str], Any] = {}
        self.namespaces: dict[str, Any] = {}

    def put(self, namespace: str, body: Mapping[str, Any]) -> Any:
        """Keep a Secret."""
        kept = {**body, "metadata": {**body["metadata"], "namespace": namespace}}
        self.secrets[namespace, kept["metadata"]["name"]] = kept
        return kept


def _labelled(secret: Mapping[str, Any], key: str, value: str) -> bool:
    labels: Mapping[str, str] = secret["metadata"].get("labels") or {}
    return labels.get(key) == value


class _Handler(BaseHTTPRequestHandler):
    @property
    def kept(self) -> SecretServer:
        assert isinstance(self.server, SecretServer)
        return self.server

    def do_GET(self) -> None:
        asked = urllib.parse.urlsplit(self.path)
        if asked.path == "/api/v1/secrets":
            key, _, value = urllib.parse.parse_qs(asked.query)["labelSelector"][0].partition("=")
            found = [one for one in self.kept.secrets.values() if _labelled(one, key, value)]
            self._answer(200, {"items": found})
        else:
            one = self.kept.secrets.get(self._place())
            self._answer(404 if one is None else 200, one or {"message": "not found"})

    def do_POST(self) -> None:
        body = self._body()
        name = body["metadata"]["name"]
        if self.path == "/api/v1/namespaces":
            taken = name in self.kept.namespaces
            self.kept.namespaces.setdefault(name, body)
        else:
            namespace, _ = self._place()
            assert namespace in self.kept.namespaces
            taken = (namespace, name) in self.kept.secrets
            if not taken:
                self.kept.put(namespace, body)
        self._answer(409 if taken else 201, {"message": "it is there already"} if taken else body)

    def do_PUT(self) -> None:
        self._answer(200, self.kept.put(self._place()[0], self._body()))

    def do_DELETE(self) -> None:
        gone = self.kept.secrets.pop(self._place(), None)
        self._answer(404 if gone is None else 200, {"status": "Success"})

    def _place(self) -> tuple[str, str]:
        found = _PLACE.fullmatch(urllib.parse.urlsplit(self.path).path)
        assert found is not None, self.path
        return found[1], found[2] or ""

    def _body(self) -> Any:
        return json.loads(self.rfile.read(int(self.headers["content-length"])))

    def _answer(self, status: int, body: Any) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextlib.contextmanager
def secret_server(folder: Path) -> Generator[SecretServer]:
    """Serve until the end of a block, within which KUBECONFIG names it."""
    with SecretServer() as server, pytest.MonkeyPatch.context() as patch:
        named = {"name": "it", "cluster": {"server": f"http://127.0.0.1:{server.server_port}"}}
        context = {"name": "it", "context": {"cluster": "it", "user": "it"}}
        file = folder / "kubeconfig"
        file.write_text(
            yaml.safe_dump(
                {
                    "clusters": [named],
                    "contexts": [context],
                    "users": [{"name": "it", "user": {}}],
                    "current-context": "it",
                }
            )
        )
        patch.setenv("KUBECONFIG", str(file))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
