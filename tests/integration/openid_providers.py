"""A certified OpenID provider of npm, installed from its lock and run by the Node of the virtual environment."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from joserfc.jwk import RSAKey

from orchestrator_resources.node_packages import node_wheel, npm_command

_SOURCE: Final = Path(__file__).with_name("openid_provider")
_KEPT: Final = Path(__file__).parents[2] / "var" / "openid-provider"
_SECONDS: Final = 120

CLIENT_ID: Final = "orchestrator"
CLIENT_SECRET: Final = "no secret, but as long as one+%"

PEOPLE: Final[Mapping[str, Mapping[str, Any]]] = {
    "ada": {
        "name": "Ada <script>alert(1)</script>",
        "email": "ada@acme.example",
        "email_verified": True,
        "groups": ["/acme/red/editor"],
    },
    "bob": {"name": "Bob", "email": "bob@acme.example", "email_verified": True, "groups": []},
    "eve": {
        "name": "Eve",
        "email": "bob@acme.example",
        "email_verified": False,
        "groups": ["/acme/red/operator"],
    },
    "olga": {"name": "Olga", "groups": ["platform-operators"]},
}
"""By subject: `ada` is an editor of red by her group and of blue by her address, `bob` a viewer of blue by his,
`eve` says that Bob's address is hers, and `olga` is an operator."""


def installed() -> Path:
    """Return the folder of the provider, installed when it is not."""
    digest = hashlib.sha256(
        b"".join((_SOURCE / n).read_bytes() for n in ("package-lock.json", "provider.mjs"))
    )
    folder = _KEPT / digest.hexdigest()[:16]
    _KEPT.mkdir(parents=True, exist_ok=True)
    with (_KEPT / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.exists():
            making = folder.with_suffix(".making")
            shutil.rmtree(making, ignore_errors=True)
            shutil.copytree(_SOURCE, making)
            wheel = _node()
            path = os.pathsep.join([str(wheel / "bin"), os.environ.get("PATH", os.defpath)])
            done = subprocess.run(
                npm_command(wheel, "ci", "--ignore-scripts"),
                cwd=making,
                env={**os.environ, "PATH": path, "npm_config_update_notifier": "false"},
                capture_output=True,
                text=True,
                timeout=_SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            making.rename(folder)
    return folder


def _node() -> Path:
    wheel = node_wheel(Path(sys.prefix))
    assert wheel is not None, "the virtual environment has no Node: run `make` again"
    return wheel


def new_key(name: str) -> Mapping[str, Any]:
    """Return a private key as JSON."""
    key = RSAKey.generate_key(2048, {"kid": name, "use": "sig", "alg": "RS256"})
    return dict(key.as_dict(private=True))


class OpenIdProvider:
    """A provider that serves one client.

    Args:
        redirect_uri: Where it sends browsers back to.
        after: Where it sends them after they signed out.
        userinfo_only: Whether it tells names and groups at its userinfo endpoint only.
    """

    def __init__(self, redirect_uri: str, after: str, *, userinfo_only: bool = False) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port: Final[int] = free.getsockname()[1]
        self.issuer: Final = f"http://127.0.0.1:{self.port}"
        self.keys: Sequence[Mapping[str, Any]] = [new_key("first")]
        self._told = {
            "port": self.port,
            "people": PEOPLE,
            "userinfo_only": userinfo_only,
            "client": {
                "client_id": CLIENT_ID,
                "client_secret": CLIENT_SECRET,
                "token_endpoint_auth_method": "client_secret_post",
                "redirect_uris": [redirect_uri],
                "post_logout_redirect_uris": [after],
            },
        }
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Serve; returns when it does."""
        folder = installed()
        self._process = subprocess.Popen(
            [str(_node() / "bin" / "node"), "provider.mjs"],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps({**self._told, "keys": self.keys}) + "\n")
        self._process.stdin.flush()
        assert any("ready" in line for line in self._process.stdout), "the provider ended"

    def stop(self) -> None:
        """End it; idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


@contextlib.contextmanager
def openid_provider(
    redirect_uri: str, after: str, *, userinfo_only: bool = False
) -> Generator[OpenIdProvider]:
    """Run a provider until the end; see `OpenIdProvider`."""
    provider = OpenIdProvider(redirect_uri, after, userinfo_only=userinfo_only)
    try:
        provider.start()
        yield provider
    finally:
        provider.stop()
