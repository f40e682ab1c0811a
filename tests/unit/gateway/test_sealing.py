"""What is sealed opens where it was put, by the key that sealed it, and nowhere else."""

import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_gateway.payloads import SEALED
from orchestrator_gateway.sealing import (
    NotOpened,
    is_sealed,
    is_sealed_text,
    seal,
    seal_text,
    unseal,
    unseal_text,
)
from tests.integration.key_files import tenant_key

KEY = tenant_key("acme", 3)
PLACES = st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=4)


@given(st.binary(max_size=200), PLACES)
def test_what_is_sealed_opens(data: bytes, place: list[str | int]) -> None:
    sealed = seal(KEY, place, data)
    assert is_sealed(sealed) and unseal(KEY, place, sealed) == data
    assert sealed != seal(KEY, place, data), "the same twice does not look the same"
    assert len(data) < 4 or data not in sealed


@given(st.text(st.characters(), max_size=50), PLACES)
def test_a_text_comes_back_as_it_was(text: str, place: list[str | int]) -> None:
    sealed = seal_text(KEY, place, text)
    assert is_sealed_text(sealed) and sealed.isascii() and sealed.split() == [sealed]
    assert unseal_text(KEY, place, sealed) == text


@given(PLACES, PLACES)
def test_it_opens_nowhere_else(place: list[str | int], other: list[str | int]) -> None:
    sealed = seal(KEY, place, b"data")
    if place != other:
        with pytest.raises(NotOpened):
            unseal(KEY, other, sealed)


@given(st.data())
def test_what_was_changed_does_not_open(data: st.DataObject) -> None:
    sealed = bytearray(seal(KEY, ["row"], b"data"))
    sealed[data.draw(st.integers(0, len(sealed) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(NotOpened):
        unseal(KEY, ["row"], bytes(sealed))


@given(st.integers(0, 60))
def test_what_was_cut_does_not_open(length: int) -> None:
    sealed = seal(KEY, ["row"], b"data")
    if length < len(sealed):
        with pytest.raises(NotOpened):
            unseal(KEY, ["row"], sealed[:length])


def test_another_tenant_with_the_same_key_does_not_open_it() -> None:
    with pytest.raises(NotOpened, match="another key of 'globex'"):
        unseal(replace(KEY, tenant="globex"), ["row"], seal(KEY, ["row"], b"data"))


def test_the_newest_version_seals_and_each_opens() -> None:
    old = replace(KEY, versions={1: KEY.versions[1]})
    sealed = seal(old, ["row"], b"data")
    assert unseal(KEY, ["row"], sealed) == b"data"
    with pytest.raises(NotOpened, match="version 3 of the key of 'acme' is not there"):
        unseal(old, ["row"], seal(KEY, ["row"], b"data"))
    assert old.mark("text") == KEY.mark("text") != tenant_key("acme").mark("text")


@pytest.mark.parametrize("text", ["", "sealed:", "sealed:!", "sealed:AAAA", "plain", "sealed:\ud800"])
def test_a_text_that_nobody_sealed_does_not_open(text: str) -> None:
    with pytest.raises(NotOpened):
        unseal_text(KEY, [], text)


@given(st.binary(max_size=50), st.integers(0, 9))
def test_nothing_compressed_looks_sealed(data: bytes, level: int) -> None:
    assert not zlib.compress(data, level).startswith(SEALED[:1])
