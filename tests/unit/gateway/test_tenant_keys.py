"""Files with keys of tenants: read strictly, and again when they change."""

import asyncio
import json
import logging
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator_gateway.journal import JournalUnavailable
from orchestrator_gateway.stores import open_journal
from orchestrator_gateway.tenant_keys import (
    SPREAD_SECONDS,
    BadKeyFile,
    KeyFile,
    NoTenantKey,
    TenantKey,
    read_keys,
)
from tests.integration.key_files import key_file, tenant_key, write_keys

KEY = "A" * 43 + "="


def test_what_is_written_is_read(tmp_path: Path) -> None:
    keys = [tenant_key("acme", 3), tenant_key("globex")]
    assert list(read_keys(write_keys(tmp_path / "keys", *keys)).values()) == keys
    assert keys[0].current == 3 and "versions" not in repr(keys[0])


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"", "it is no JSON"),
        (b"\xff", "it is no JSON"),
        (b"[" * 100_000, "it is no JSON"),
        (b"[]", "it must be an object"),
        (b'{"acme": "x"}', "it must be an object"),
        (b'{"acme": {}}', "'acme' has no version"),
        (json.dumps({"acme": {"0": KEY}}).encode(), "a version is a number from 1"),
        (json.dumps({"acme": {"one": KEY}}).encode(), "a version is a number from 1"),
        (json.dumps({"acme": {"1": "planted secret"}}).encode(), "version 1 is no base64"),
        (json.dumps({"acme": {"1": "cGxhbnRlZA=="}}).encode(), "is not 32 bytes long"),
        (json.dumps({"acme": {"1": 7}}).encode(), "is not 32 bytes long"),
    ],
)
def test_a_file_that_is_none_is_refused_in_one_line(tmp_path: Path, content: bytes, why: str) -> None:
    file = tmp_path / "keys"
    file.write_bytes(content)
    with pytest.raises(BadKeyFile, match=why) as refused:
        read_keys(file)
    assert "\n" not in str(refused.value) and "planted" not in str(refused.value)
    assert str(file) in str(refused.value)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadKeyFile, match="cannot be read: No such file"):
        KeyFile(tmp_path / "keys")


def test_what_changes_is_seen_and_what_is_broken_leaves_the_keys_before_it(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = key_file(tmp_path / "keys", "acme")
    keys = KeyFile(file)
    with pytest.raises(NoTenantKey, match="the tenant 'globex' has no key"):
        keys.of("globex")
    globex, before = tenant_key("globex"), keys.of("acme")
    write_keys(file, before, globex)
    assert keys.of("globex").versions == globex.versions and keys.of("acme") == before
    with caplog.at_level(logging.ERROR):
        (tmp_path / "broken").write_text("{")
        (tmp_path / "broken").replace(file)
        assert [keys.of("acme") for _ in range(3)] == [before] * 3
        file.unlink()
        assert [keys.of("acme") for _ in range(3)] == [before] * 3
    assert len(caplog.records) == 2, "each is told of once"
    write_keys(file, globex)
    with pytest.raises(NoTenantKey):
        keys.of("acme")


def test_the_key_of_one_is_that_of_whoever_is_asked_for(tmp_path: Path) -> None:
    keys = KeyFile(key_file(tmp_path / "keys", "acme"), of_one=True)
    assert keys.of("local").tenant == "acme"
    with pytest.raises(BadKeyFile, match="must hold the keys of one tenant, and holds those of 2"):
        KeyFile(key_file(tmp_path / "two", "acme", "globex"), of_one=True)


def test_a_version_that_comes_seals_only_when_others_have_it_too(tmp_path: Path) -> None:
    key, now = tenant_key("acme", 3), [0.0]
    versions = [{n: key.versions[n] for n in range(1, most + 1)} for most in (1, 2)]
    file = write_keys(tmp_path / "keys", replace(key, versions=versions[0]))
    keys = KeyFile(file, clock=lambda: now[0])

    def seals() -> int:
        return keys.of("acme").current

    assert seals() == 1, "what is there at the start seals"
    write_keys(file, replace(key, versions=versions[1]))
    assert seals() == 1 and keys.of("acme").versions == versions[1], "it opens at once"
    now[0] = SPREAD_SECONDS - 1
    write_keys(file, key, tenant_key("globex"))
    assert seals() == 1 and keys.of("globex").current == 1, "a tenant that comes has no other"
    now[0] = SPREAD_SECONDS
    assert seals() == 2
    now[0] = 2 * SPREAD_SECONDS
    assert seals() == 3 and KeyFile(file).of("acme").current == 3


def test_a_key_without_a_version_is_none() -> None:
    with pytest.raises(ValueError, match="no version"):
        TenantKey(tenant="acme", versions={})


def test_who_has_keys_and_not_what_seals_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "orchestrator_gateway.sealed_journal", None)
    keys = KeyFile(key_file(tmp_path / "keys", "acme"))
    with pytest.raises(JournalUnavailable, match=r"install orchestrator-gateway\[keys\]"):
        asyncio.run(open_journal(str(tmp_path / "journal.db"), keys=keys))
    assert not (tmp_path / "journal.db").exists()
