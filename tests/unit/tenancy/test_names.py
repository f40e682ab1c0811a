"""The laws of names, for any tenants and anything that Dagster takes as a name."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from orchestrator_tenancy.names import (
    BadName,
    name_prefix,
    own_key,
    own_name,
    owns_key,
    owns_name,
    stays_inside,
)
from orchestrator_tenancy.tenants import TENANT_NAME

TENANTS = st.one_of(
    st.from_regex(TENANT_NAME, fullmatch=True),
    # near ones: what a prefix could be taken for
    st.sampled_from(["a0", "a0-b", "a0-b0", "ab", "abc", "a-b", "a-b-c", "acme", "acme-labs", "acme0"]),
)


def _flat(tenant: str) -> str:
    return tenant.replace("-", "_")


NAMES = st.one_of(
    st.from_regex(r"[A-Za-z0-9_]+", fullmatch=True),
    st.tuples(TENANTS, st.from_regex(r"_?[a-z]{0,3}", fullmatch=True)).map("__".join).map(_flat),
    TENANTS.map(_flat),
    st.sampled_from(["_", "__", "___", "a__", "__a", "a___b"]),
)
COMPONENTS = st.text(min_size=1, max_size=5).filter(lambda text: stays_inside([text]))
PATHS = st.lists(st.one_of(TENANTS, COMPONENTS), min_size=1, max_size=4)


@given(TENANTS, NAMES)
def test_what_is_named_for_a_tenant_is_the_tenants_and_is_named_once(tenant: str, name: str) -> None:
    own = own_name(tenant, name)
    assert owns_name(tenant, own)
    assert own_name(tenant, own) == own
    assert own in (name, name_prefix(tenant) + name)


@given(TENANTS, PATHS)
def test_a_key_below_a_tenant_is_the_tenants_and_is_put_there_once(tenant: str, path: list[str]) -> None:
    own = own_key(tenant, path)
    assert owns_key(tenant, own)
    assert own_key(tenant, own) == own
    assert own in (tuple(path), (tenant, *path))


@given(TENANTS, TENANTS, NAMES, PATHS)
def test_nothing_is_of_two_tenants(one: str, other: str, name: str, path: list[str]) -> None:
    assume(one != other)
    assert not (owns_name(one, name) and owns_name(other, name))
    assert not owns_name(other, own_name(one, name))
    assert not (owns_key(one, path) and owns_key(other, path))
    assert not owns_key(other, own_key(one, path))


def test_a_prefix_alone_names_nothing() -> None:
    assert not owns_name("acme", "acme__")
    assert not owns_key("acme", ["acme"])
    assert own_key("acme", ["acme"]) == ("acme", "acme")


@pytest.mark.parametrize("part", ["", ".", "..", "../x", "a/b", "/etc", "a\0"])
def test_a_key_that_leads_out_of_its_folder_is_nobodys(part: str) -> None:
    assert not owns_key("acme", ["acme", part])
    assert not owns_key("acme", ["acme", "x", part])
    with pytest.raises(BadName, match="is no asset key"):
        own_key("acme", ["x", part])
