"""A websocket that may not go on ends, whatever its application does."""

import asyncio

import pytest
from starlette.types import Message, Receive, Scope, Send

from orchestrator_tenancy.sign_in import watched_sockets
from orchestrator_tenancy.sign_in.watched_sockets import ENDED, serve_watched


class Peer:
    """A websocket whose other end says nothing."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.may = True
        self._never = asyncio.Event()

    async def receive(self) -> Message:
        await self._never.wait()
        raise AssertionError("never")

    async def send(self, message: Message) -> None:
        self.sent.append(message)

    async def may_go_on(self) -> bool:
        return self.may


def test_an_application_that_hears_nothing_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watched_sockets, "_GRACE_SECONDS", 0.05)
    ended = list[str]()

    async def deaf(scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await asyncio.sleep(3_600)
        finally:
            ended.append("yes")

    async def scenario() -> None:
        peer = Peer()
        serving = asyncio.create_task(
            serve_watched(deaf, {}, peer.receive, peer.send, may_go_on=peer.may_go_on, seconds=0.01)
        )
        await asyncio.sleep(0.05)
        assert not serving.done()
        peer.may = False
        await asyncio.wait_for(serving, 5)
        assert peer.sent == [{"type": "websocket.close", "code": ENDED, "reason": "sign in again"}]

    asyncio.run(scenario())
    assert ended == ["yes"]


def test_what_is_sent_after_the_end_reaches_nobody() -> None:
    async def talker(scope: Scope, receive: Receive, send: Send) -> None:
        while True:
            await send({"type": "websocket.send", "text": "secret"})
            await asyncio.sleep(0.01)
            if len(peers[0].sent) > 3 and peers[0].sent[-1]["type"] == "websocket.close":
                await send({"type": "websocket.send", "text": "more"})
                assert (await receive())["type"] == "websocket.disconnect"
                return

    peers = list[Peer]()

    async def scenario() -> None:
        peer = Peer()
        peers.append(peer)
        serving = asyncio.create_task(
            serve_watched(talker, {}, peer.receive, peer.send, may_go_on=peer.may_go_on, seconds=0.01)
        )
        await asyncio.sleep(0.1)
        peer.may = False
        await asyncio.wait_for(serving, 10)
        assert peer.sent[-1]["type"] == "websocket.close"

    asyncio.run(scenario())


def test_an_applications_own_end_and_error_are_its_own() -> None:
    async def done(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "websocket.close"})

    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError("its own")

    async def scenario() -> None:
        peer = Peer()
        await serve_watched(done, {}, peer.receive, peer.send, may_go_on=peer.may_go_on, seconds=0.01)
        assert peer.sent == [{"type": "websocket.close"}]
        with pytest.raises(RuntimeError, match="its own"):
            await serve_watched(broken, {}, peer.receive, peer.send, may_go_on=peer.may_go_on, seconds=0.01)

    asyncio.run(scenario())
