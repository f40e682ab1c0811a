"""A journal whose bodies are sealed by the keys of tenants: what is below it gets nothing that could be read there.

Answers, results of tools and the digests of words in them are sealed. What calls and steps are found by is marked by
the key in place of a plain digest, which would tell a short request to whoever guesses it. Numbers, names, times, token
counts and content types stay as they are: the journal decides by them.
"""

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import TypeAlias

from orchestrator_gateway.journal import Answer, Asked, Claimed, Journal, JournalUnavailable, Scope, Words
from orchestrator_gateway.payloads import LONG_BYTES, packed, packed_text, unpacked, unpacked_text
from orchestrator_gateway.sealing import (
    NotOpened,
    as_text,
    is_sealed,
    is_sealed_text,
    of_text,
    seal,
    seal_text,
    unseal,
    unseal_text,
)
from orchestrator_gateway.tenant_keys import KeyFile, NoTenantKey, TenantKey
from orchestrator_runtimes.messages import Step, StepLookup, StepRecord

_Place: TypeAlias = Sequence[str | int]
"""Of what is sealed: its kind, so that none opens as another, its execution and its row."""


class SealedJournal:
    """See `journal.Journal`; what was kept before there were keys can still be read.

    Args:
        journal: Keeps what is sealed.
        keys: Of the tenants.
    """

    def __init__(self, journal: Journal, keys: KeyFile) -> None:
        self._journal, self._keys = journal, keys

    async def words(self, scope: Scope) -> Words:
        """Return what the answers of a scope were about."""
        found = await self._journal.words(scope)
        plain = {word for word in found.digests if not is_sealed_text(word)}
        sealed = found.digests - plain
        if sealed:
            key = self._key(scope.tenant)
            try:
                opened = [unseal_text(key, _words_place(scope), word) for word in sealed]
            except NotOpened as error:
                raise _lost(error) from error
            plain.update(word for words in opened for word in words.split())
        return Words(answers=found.answers, digests=frozenset(plain))

    async def claim(self, scope: Scope, asked: Asked) -> Claimed:
        """Decide what a call is to get; a tenant without a key gets nothing, before anybody is asked or paid."""
        key = self._key(scope.tenant)
        former = (asked.exact, asked.loose)
        marked = replace(asked, exact=key.mark(asked.exact), loose=key.mark(asked.loose), former=former)
        return await self._journal.claim(scope, marked)

    async def renew(self, numbers: Collection[int]) -> None:
        """Give a sign of life for calls that are on their way."""
        await self._journal.renew(numbers)

    async def answer(self, scope: Scope, number: int) -> Answer:
        """Return an answer."""
        found = await self._journal.answer(scope, number)
        if not is_sealed(found.body):
            return found
        place = _answer_place(scope, number, found.content_type)
        data = await self._opened(self._key(scope.tenant), place, found.body)
        return replace(found, body=await unpacked(data))

    async def record(
        self, scope: Scope, number: int, request: str, answer: Answer, words: frozenset[str]
    ) -> None:
        """Remember the answer to a call; durable when this returns."""
        key = self._key(scope.tenant)
        # as a store gives it back: what stands in another alphabet would make the place another one
        content_type = answer.content_type.encode("ascii", "replace").decode()
        body = await _sealed(key, _answer_place(scope, number, content_type), await packed(answer.body))
        sealed = replace(answer, content_type=content_type, body=body)
        about = frozenset({seal_text(key, _words_place(scope), " ".join(sorted(words)))} if words else ())
        await self._journal.record(scope, number, request, sealed, about)

    async def release(self, scope: Scope, number: int, request: str) -> None:
        """Drop a call that came to nothing."""
        await self._journal.release(scope, number, request)

    async def lookup(self, tenant: str, step: StepLookup) -> Step:
        """Say what is known of a tool call, and mark one that may run only once as started."""
        key = self._key(tenant)
        found = await self._journal.lookup(tenant, replace(step, step=key.mark(step.step)))
        if found.state != "finished":
            # what was started or finished before there were keys must not run again
            before = await self._journal.lookup(tenant, replace(step, once=False))
            return found if before.state == "new" else before
        data = await self._opened(key, _step_place(step), found.result or "")
        return replace(found, result=await unpacked_text(data))

    async def record_step(self, tenant: str, step: StepRecord) -> None:
        """Remember a tool call's result; durable when this returns."""
        key = self._key(tenant)
        sealed = await _sealed(key, _step_place(step), await packed_text(step.result))
        await self._journal.record_step(
            tenant, replace(step, step=key.mark(step.step), result=as_text(sealed))
        )

    async def forget(self, tenant: str, executions: Sequence[str]) -> None:
        """Drop the calls and steps of executions whose results are stored elsewhere."""
        await self._journal.forget(tenant, executions)

    async def purge(self, tenant: str | None, older_than: float) -> int:
        """Drop executions of which nothing was recorded since a Unix time; of every tenant where it is None."""
        return await self._journal.purge(tenant, older_than)

    async def close(self) -> None:
        """Do what was asked for, and release the database."""
        await self._journal.close()

    def _key(self, tenant: str) -> TenantKey:
        try:
            return self._keys.of(tenant)
        except NoTenantKey as error:
            raise JournalUnavailable(str(error)) from error

    async def _opened(self, key: TenantKey, place: _Place, sealed: bytes | str) -> bytes:
        def work() -> bytes:
            return unseal(key, place, of_text(sealed) if isinstance(sealed, str) else sealed)

        try:
            return await asyncio.to_thread(work) if len(sealed) >= LONG_BYTES else work()
        except NotOpened as error:
            raise _lost(error) from error


async def _sealed(key: TenantKey, place: _Place, data: bytes) -> bytes:
    if len(data) < LONG_BYTES:
        return seal(key, place, data)
    return await asyncio.to_thread(seal, key, place, data)


def _answer_place(scope: Scope, number: int, content_type: str) -> _Place:
    return ("answer", scope.execution, scope.agent, number, content_type)


def _words_place(scope: Scope) -> _Place:
    return ("words", scope.execution, scope.agent)


def _step_place(step: StepLookup | StepRecord) -> _Place:
    return ("step", step.execution, step.step, step.occurrence)


def _lost(error: NotOpened) -> JournalUnavailable:
    return JournalUnavailable(f"what the journal keeps does not open: {error}")
