"""Keys of tenants in the control plane's database: on SQLite and PostgreSQL."""

import base64
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestrator_gateway.sealing import NotOpened, seal, unseal
from orchestrator_gateway.tenant_keys import TenantKey
from orchestrator_resources.state_databases import StateDatabase
from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy.keys.master_secrets import FORMER, MASTER, master_secrets
from orchestrator_tenancy.keys.tenant_key_store import TenantKeys
from tests.integration.state_places import opened, rows_of

SECRET, NEXT = "s" * 32, "n" * 32


@pytest.fixture
def database(stored: str) -> Iterator[StateDatabase]:
    with opened(stored) as found:
        yield found


@pytest.fixture
def keys(database: StateDatabase) -> TenantKeys:
    return TenantKeys(database, [SECRET])


def test_a_tenant_has_a_key_that_stays_and_the_database_does_not_tell_it(
    stored: str, keys: TenantKeys
) -> None:
    acme, globex = keys.current("acme"), keys.current("globex")
    assert keys.current("acme") == acme and acme.versions != globex.versions
    assert keys.all("acme") == acme.versions and keys.all("initech") == {}
    kept = rows_of(stored)
    assert "acme" in kept and SECRET not in kept
    for key in (*acme.versions.values(), *globex.versions.values()):
        assert all(
            text not in kept
            for text in (key.hex(), repr(key)[2:-1], base64.b64encode(key).decode().rstrip("="))
        )


def test_after_a_rotation_the_newest_seals_and_all_open(keys: TenantKeys) -> None:
    before = keys.current("acme")
    sealed = seal(before, ["row"], b"data")
    assert keys.rotate("acme") == 2 and keys.rotate("globex") == 1
    now = keys.current("acme")
    assert now.current == 2 and now.versions != before.versions
    assert unseal(TenantKey(tenant="acme", versions=keys.all("acme")), ["row"], sealed) == b"data"
    assert [(one.tenant, one.version) for one in keys.list()] == [("acme", 1), ("acme", 2), ("globex", 1)]
    assert [one.version for one in keys.list("acme")] == [1, 2]


def test_what_was_shredded_is_gone_also_from_the_file_and_the_next_key_is_another(
    stored: str, database: StateDatabase, keys: TenantKeys
) -> None:
    before = keys.current("acme")
    sealed = seal(before, ["row"], b"data")
    keys.rotate("acme")
    other = keys.current("globex")
    with database.transaction("keys") as reading:
        wrapped = [
            row[0]
            for row in reading.execute("SELECT wrapped FROM tenant_keys WHERE tenant = 'acme'").fetchall()
        ]
    assert [keys.shred("acme") for _ in range(2)] == [2, 0]
    assert keys.all("acme") == {} and keys.list("acme") == [] and keys.current("globex") == other
    kept = rows_of(stored)
    assert wrapped and all(one not in kept for one in wrapped)
    with pytest.raises(NotOpened):
        unseal(keys.current("acme"), ["row"], sealed)


def test_the_master_secret_is_replaced_without_another_key(database: StateDatabase, keys: TenantKeys) -> None:
    keys.rotate("acme")
    keys.rotate("acme")
    before = keys.all("acme")
    with pytest.raises(
        AgentError, match="version 1 of the key of 'acme' was not wrapped by ORCHESTRATOR_MASTER_SECRET"
    ):
        TenantKeys(database, [NEXT]).all("acme")
    both = TenantKeys(database, [NEXT, SECRET])
    assert both.all("acme") == before
    both.rotate("globex")
    assert [both.rewrap() for _ in range(2)] == [2, 0]
    assert TenantKeys(database, [NEXT]).all("acme") == before
    with pytest.raises(AgentError, match="not wrapped by"):
        keys.current("acme")


def test_a_key_that_was_given_to_another_tenant_does_not_open(
    database: StateDatabase, keys: TenantKeys
) -> None:
    keys.current("acme")
    with database.transaction("keys") as forged:
        forged.execute("UPDATE tenant_keys SET tenant = 'globex'")
    with pytest.raises(AgentError, match="was not wrapped by"):
        keys.current("globex")


def test_of_many_that_ask_for_the_first_key_all_get_the_same(stored: str) -> None:
    found = list[Any]()

    def ask() -> None:
        with opened(stored) as database:
            found.append(TenantKeys(database, [SECRET]).current("acme"))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and all(one == found[0] for one in found)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(st.sampled_from(["seal", "rotate", "rewrap", "shred", "replace"]), st.sampled_from("ab")),
        max_size=12,
    )
)
def test_whatever_is_done_what_was_sealed_opens_until_it_is_shredded(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, str]]
) -> None:
    secrets, sealed = [SECRET], dict[str, list[bytes]](a=[], b=[])
    lost = list[tuple[str, bytes]]()
    with opened(str(tmp_path_factory.mktemp("keys") / "keys.db")) as database:
        for step, tenant in steps:
            keys = TenantKeys(database, secrets)
            match step:
                case "seal":
                    sealed[tenant].append(seal(keys.current(tenant), [], tenant.encode()))
                case "rotate":
                    keys.rotate(tenant)
                case "shred":
                    keys.shred(tenant)
                    lost += [(tenant, one) for one in sealed[tenant]]
                    sealed[tenant] = []
                case "replace":
                    secrets = [f"{len(secrets)}" * 32, secrets[0]]
                    TenantKeys(database, secrets).rewrap()
                case _:
                    keys.rewrap()
        keys = TenantKeys(database, secrets)
        for tenant, each in sealed.items():
            for one in each:
                key = TenantKey(tenant=tenant, versions=keys.all(tenant))
                assert unseal(key, [], one) == tenant.encode()
        for tenant, one in lost:
            keys.current(tenant)
            with pytest.raises(NotOpened):
                unseal(TenantKey(tenant=tenant, versions=keys.all(tenant)), [], one)


def test_the_master_secret_is_long_and_stands_in_a_variable_or_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(MASTER, raising=False)
    with pytest.raises(AgentError, match=f"set {MASTER}_FILE to a file"):
        master_secrets()
    monkeypatch.setenv(MASTER, "short")
    with pytest.raises(AgentError, match=f"{MASTER}: has 5 characters, fewer than 32") as refused:
        master_secrets()
    assert "short" not in str(refused.value)
    monkeypatch.delenv(MASTER)
    (tmp_path / "secret").write_text(SECRET)
    monkeypatch.setenv(f"{MASTER}_FILE", str(tmp_path / "secret"))
    assert master_secrets() == (SECRET,)
    monkeypatch.setenv(FORMER, NEXT)
    assert master_secrets() == (SECRET, NEXT)
    monkeypatch.setenv(FORMER, "short")
    with pytest.raises(AgentError, match=f"{FORMER}: has 5 characters"):
        master_secrets()
