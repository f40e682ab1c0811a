"""`orchestrator marketplace`, as its how-to has it: served by one process, used by others."""

import json
import re
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import httpx
import pytest

from orchestrator_marketplace.authorities import CA_FILE
from orchestrator_marketplace.marketplaces import Event
from tests.certificates import Authority
from tests.integration.bundle_registries import odd_registry, real_registry, say
from tests.integration.command_lines import BIN, refused, succeeds
from tests.integration.how_tos import HOW_TO
from tests.integration.processes import wait_until
from tests.integration.redis_servers import redis_server

PAGE = (HOW_TO / "run-a-marketplace.md").read_text()


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "registry").mkdir()
    with real_registry(tmp_path / "registry") as name:
        yield name


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Page:
    """The page's commands, in a folder, with its addresses replaced by those of this test."""

    def __init__(self, folder: Path, registry: str, bus: str, hooks: str) -> None:
        self.folder = folder
        self.place = f"127.0.0.1:{free_port()}"
        self.names = {
            "registry.example": registry,
            "127.0.0.1:8940": self.place,
            "redis://redis.internal/0": bus,
            "hooks.internal:9000": hooks,
            "hooks.internal": "localhost",
        }
        (settings,) = re.findall(
            r"<!-- marketplace: marketplace.yaml -->\n```yaml\n(.*?)```", PAGE, re.DOTALL
        )
        (folder / "marketplace.yaml").write_text(self.here(settings))
        (folder / "advisories").mkdir()
        blocks = re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
        self.blocks = [[shlex.split(self.here(line)) for line in block.splitlines()] for block in blocks]

    def here(self, text: str) -> str:
        for name, meant in self.names.items():
            text = text.replace(name, meant)
        return text

    def run(self, words: list[str]) -> str:
        return succeeds(*words, folder=self.folder, ORCHESTRATOR_MARKETPLACE=f"http://{self.place}")


@pytest.fixture
def bus() -> Iterator[str]:
    with redis_server() as running:
        yield running.url


@pytest.fixture
def received() -> Iterator[tuple[str, list[tuple[dict[str, str], bytes]]]]:
    """A receiver of webhooks: its host and port, and what it got."""
    got: list[tuple[dict[str, str], bytes]] = []

    def take(to: BaseHTTPRequestHandler) -> None:
        body = to.rfile.read(int(to.headers["content-length"]))
        got.append(({name.lower(): value for name, value in to.headers.items()}, body))
        say(to, 204)

    with odd_registry(take) as name:
        yield name, got


@pytest.fixture
def page(
    tmp_path: Path, registry: str, bus: str, received: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> Iterator[Page]:
    made = Page(tmp_path, registry, bus, received[0])
    *before, serve = made.blocks[0]
    for words in before:
        made.run(words)
    assert serve[:3] == ["orchestrator", "marketplace", "serve"]
    port = made.place.partition(":")[2]
    with subprocess.Popen([BIN / "orchestrator", *serve[1:], "--port", port], cwd=tmp_path) as process:
        try:
            until = time.monotonic() + 60
            while time.monotonic() < until and process.poll() is None:
                try:
                    httpx.get(f"http://{made.place}/openapi.json", timeout=2)
                    break
                except httpx.HTTPError:
                    time.sleep(0.1)
            yield made
        finally:
            process.terminate()


def test_the_how_to_is_what_happens(
    page: Page, received: tuple[str, list[tuple[dict[str, str], bytes]]]
) -> None:
    _, publish, look, rate, hooks, on_the_bus = page.blocks
    said = [page.run(words) for words in publish]
    assert said[-1].strip() == "acme/clock 0.1.0: checks"
    until = time.monotonic() + 60
    while json.loads(page.run(look[0]))["state"] == "checks" and time.monotonic() < until:
        time.sleep(0.2)
    told = json.loads(page.run(look[0]))
    assert told["state"] == "review" and "0 known weaknesses" in told["findings"]
    subscribe, *later = hooks
    subscribed = json.loads(page.run(subscribe))
    outputs = [page.run(words) for words in look[1:]]
    assert outputs[0].strip() == "acme/clock 0.1.0: published"
    assert "acme/clock" in outputs[1] and "Tells the time" in outputs[1]
    assert outputs[2].strip() == "acme/clock 0.1.0: deprecated"
    kinds = [json.loads(line)["kind"] for line in outputs[3].splitlines()]
    assert kinds == ["register", "submit", "pass", "approve", "deprecate"]
    rated = [page.run(words) for words in rate][-1]
    assert json.loads(rated)["comment"] == "always on time"
    _, got = received
    until = time.monotonic() + 30
    while not got and time.monotonic() < until:
        time.sleep(0.1)
    ((headers, body),) = got
    (block,) = re.findall(r"<!-- marketplace: received -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict[str, object] = {"secret": subscribed["secret"], "headers": headers, "body": body}
    exec(block, names)
    assert isinstance(names["event"], Event) and names["event"].kind == "deprecate"
    states = [
        json.loads(page.run([subscribed["id"] if word == "SUBSCRIPTION" else word for word in words]))[
            "state"
        ]
        for words in later
    ]
    assert states == ["active", "active", "ended"]
    whole = page.run(["orchestrator", "marketplace", "events"])
    assert page.run(on_the_bus[0]) == whole and whole.startswith(outputs[3])
    marketplace = ["orchestrator", "marketplace"]
    last = json.loads(whole.splitlines()[-1])["cursor"]
    assert page.run([*marketplace, "events", "--after", str(last)]) == ""
    assert json.loads(page.run([*marketplace, "show", "acme/clock"]))["replacement"] == "acme/watch"
    found = json.loads(page.run([*marketplace, "search", "clock", "--json", "--framework", "langgraph"]))
    assert [(one["version"], one["rating"]) for one in found] == [("0.1.0", {"average": 4.0, "count": 1})]
    shown = page.run([*marketplace, "search", "clock"])
    assert "free" in shown and "4.0 of 1" in shown
    assert page.run([*marketplace, "search", "nothing"]).strip() == "nothing is found"
    page.run(["orchestrator", "bundle", "key", "new.key"])
    assert "add_key is done" in page.run(
        [*marketplace, "add-key", "acme", "new.key.pub", "--key", "acme.key"]
    )
    assert "remove_key is done" in page.run(
        [*marketplace, "remove-key", "acme", "acme.key.pub", "--key", "new.key"]
    )
    at = ("--at", f"http://{page.place}")
    withdraw = ("orchestrator", "marketplace", "withdraw", "acme/clock", "0.1.0", *at, "--key")
    assert "is signed by no key of acme" in refused(*withdraw, "acme.key", folder=page.folder)
    assert page.run([*withdraw, "new.key"]).strip() == "acme/clock 0.1.0: withdrawn"
    assert "withdraw is not for it" in refused(*withdraw, "new.key", folder=page.folder)
    wrong = ("orchestrator", "marketplace", "approve", "No", "1", *at, "--key", "new.key")
    assert "is no name" in refused(*wrong, folder=page.folder)
    foreign = ("orchestrator", "marketplace", "search", "--at", f"http://127.0.0.1:{free_port()}")
    assert "does not answer" in refused(*foreign, folder=page.folder)


def test_with_a_certificate_it_serves_whoever_verifies_it_and_nobody_else(page: Page) -> None:
    folder = page.folder
    authority = Authority(folder / "authority")
    issued = authority.issue("127.0.0.1")
    words = [f"{BIN / 'orchestrator'}", "marketplace", "serve", f"--config={folder / 'marketplace.yaml'}"]
    shown = [f"--tls-certificate={issued.certificate}", f"--tls-key={issued.key}"]
    port = free_port()
    with subprocess.Popen([*words, *shown, f"--port={port}"], cwd=folder) as process:
        try:
            url = f"https://127.0.0.1:{port}"
            wait_until(lambda: _accepts(port), "it listens")
            search = ["orchestrator", "marketplace", "search", "--at", url]
            trusting = {CA_FILE: str(authority.file)}
            assert "nothing is found" in succeeds(*search, folder=folder, **trusting)
            another = {CA_FILE: str(Authority(folder / "another").file)}
            assert "unable to get local issuer" in refused(*search, folder=folder, **another)
            assert "holds no certificates" in refused(
                *search, folder=folder, **{CA_FILE: str(folder / "marketplace.yaml")}
            )
            with pytest.raises(httpx.HTTPError):
                httpx.get(f"http://127.0.0.1:{port}/v1/bundles", timeout=10)
        finally:
            process.terminate()
    alone = refused(
        "orchestrator",
        "marketplace",
        "serve",
        "--config",
        str(folder / "marketplace.yaml"),
        shown[0],
        folder=folder,
    )
    assert "a certificate needs its key" in alone


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
