"""A configuration file that is watched: what is told of it, and how often."""

import asyncio
import json
import logging
import secrets
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from orchestrator_gateway import reloading
from orchestrator_gateway.reloading import Reloading
from orchestrator_gateway.resolution import Resolved, resolve


def write(file: Path, **more: Any) -> None:
    (file.parent / "secret").write_text("s" * 32)
    file.write_text(
        json.dumps(
            {
                "secret": {"file": "secret"},
                "journal": {"sqlite": "j"},
                "upstreams": {"a": {"base_url": "http://a/v1"}},
                "default": {"upstream": "a"},
                **more,
            }
        )
    )


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.005)


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> Path:
    caplog.set_level(logging.INFO, "orchestrator_gateway")
    monkeypatch.setattr(reloading, "LOOK_SECONDS", 0.01)
    write(tmp_path / "gateway.yaml")
    return tmp_path / "gateway.yaml"


def test_what_is_wrong_is_told_once_and_again_when_somebody_asks(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        used: list[Resolved] = []
        looks = 0

        def look(path: Path) -> Resolved:
            nonlocal looks
            looks += 1
            return resolve(path)

        monkeypatch = pytest.MonkeyPatch()
        monkeypatch.setattr(reloading, "resolve", look)
        watched = Reloading(file, resolve(file), used.append)
        watching = asyncio.create_task(watched.watch())
        try:
            await until(lambda: looks > 5)
            assert not used and not caplog.messages, "nothing has changed"
            write(file, colour={})
            await until(lambda: bool(caplog.messages))
            seen = looks
            await until(lambda: looks > seen + 5)
            assert len(caplog.messages) == 1 and "stays in force" in caplog.messages[0]
            watched.look()
            await until(lambda: len(caplog.messages) == 2)
            write(file, log_bodies=True)
            await until(lambda: bool(used))
            assert used[0].configuration.log_bodies and "in force now" in caplog.messages[2]
            (file.parent / "secret").write_text(secrets.token_hex(32))
            await until(lambda: len(caplog.messages) == 5)
            assert "says now of secret is used after a restart only" in caplog.messages[4]
        finally:
            monkeypatch.undo()
            watching.cancel()

    asyncio.run(work())


def test_sections_that_need_a_restart_are_named_until_they_are_what_is_in_use(
    file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def work() -> None:
        used: list[Resolved] = []
        watching = asyncio.create_task(Reloading(file, resolve(file), used.append).watch())
        try:
            write(
                file,
                telemetry={"prometheus": "127.0.0.1:1"},
                journal={"sqlite": "j", "limits": {"answer_bytes": 7}},
            )
            await until(lambda: len(caplog.messages) == 2)
            assert caplog.messages[1].endswith("now of journal, telemetry is used after a restart only")
            write(file, telemetry={"service_name": "other"})
            await until(lambda: len(caplog.messages) == 4)
            assert caplog.messages[3].endswith("now of telemetry is used after a restart only")
            write(file)
            await until(lambda: len(used) == 3)
            assert len(caplog.messages) == 5, "what it began with is in use"
        finally:
            watching.cancel()

    asyncio.run(work())
