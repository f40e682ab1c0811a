"""An address is host, repository, tag, digest, and nothing that could mean something else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.references import parse_reference
from orchestrator_marketplace.refusals import BundleRefused

DIGEST = f"sha256:{'a' * 64}"
hosts = st.sampled_from(
    ["localhost", "localhost:5000", "127.0.0.1:80", "[::1]:5000", "reg.example", "r.example:443"]
)
repositories = st.from_regex(r"[a-z0-9]{1,5}([._-][a-z0-9]{1,5})?(/[a-z0-9]{1,5}){0,3}", fullmatch=True)
tags = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,20}", fullmatch=True)


@given(hosts, repositories, st.none() | tags, st.none() | st.just(DIGEST))
def test_an_address_is_read_as_it_is_written(
    host: str, repository: str, tag: str | None, digest: str | None
) -> None:
    text = f"{host}/{repository}" + (f":{tag}" if tag else "") + (f"@{digest}" if digest else "")
    reference = parse_reference(text)
    assert (reference.registry, reference.repository, reference.tag, reference.digest) == (
        host,
        repository,
        tag,
        digest,
    )
    assert str(reference) == text and parse_reference(f"oci://{text}") == reference
    assert reference.asked == (digest or tag or "latest")
    assert str(reference.pinned(DIGEST)).endswith(f"@{DIGEST}")
    assert reference.is_loopback == (host.startswith(("localhost", "127.", "[")))


@pytest.mark.parametrize(
    "text",
    [
        "", "acme/reviewer", "localhost", "localhost/", "localhost/A", "localhost/a:", "localhost/a:b:c",
        "localhost/a@", "localhost/a@sha256:1", "localhost/a/../b", "localhost//a", "http://localhost/a",
        "user@localhost/a",
        "localhost:x/a", "evil.example#localhost/a", "localhost/a?x=1", "localhost/a b", "localhost/" + "a" * 256,
    ],
)  # fmt: skip
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(BundleRefused, match="is no address: write host/repository:tag"):
        parse_reference(text)


@pytest.mark.parametrize(
    "text", ["localhost.evil.example/a", "127.0.0.1.evil.example/a", "registry.example:80/a"]
)
def test_what_only_looks_like_this_machine(text: str) -> None:
    assert not parse_reference(text).is_loopback
