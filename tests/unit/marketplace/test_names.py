"""A name is a repository and belongs to its publisher; a version has one spelling, and an order."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.version import Version

from orchestrator_marketplace.names import LONGEST_PART, parse_name, parse_version, skeleton
from orchestrator_marketplace.refusals import BundleRefused

REPOSITORY = re.compile(r"[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*")
"""What the distribution specification takes."""
TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")

parts = st.from_regex(r"[a-z][a-z0-9]{0,8}(-[a-z0-9]{1,8}){0,2}", fullmatch=True)
versions = st.from_regex(
    r"(0|[1-9][0-9]{0,8})(\.(0|[1-9][0-9]{0,8})){2}((a|b|rc)(0|[1-9][0-9]{0,8}))?", fullmatch=True
)


@given(parts, parts)
def test_a_name_is_a_repository_and_comes_back(publisher: str, agent: str) -> None:
    name = parse_name(f"{publisher}/{agent}")
    assert (name.publisher, name.agent, str(name)) == (publisher, agent, f"{publisher}/{agent}")
    assert REPOSITORY.fullmatch(str(name))


@given(st.text(max_size=100))
def test_any_text_is_a_name_or_is_refused_in_one_line(text: str) -> None:
    try:
        said = str(parse_name(text))
    except BundleRefused as error:
        said = error.message
    assert said == text or (said.startswith("malformed: name: ") and "\n" not in said)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "/a",
        "a/",
        "a/b/c",
        "A/b",
        "a/b_c",
        "a/-b",
        "a/b-",
        "a/b--c",
        "1a/b",
        "a/b ",
        "../b",
        "a/é",
        "a/b\n",
        "a/" + "b" * (LONGEST_PART + 1),
    ],
)  # fmt: skip
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(BundleRefused, match=r"^agent_load_failed: malformed: name: "):
        parse_name(text)


@given(versions)
def test_a_version_is_a_tag_with_one_spelling(text: str) -> None:
    assert str(parse_version(text)) == text == str(Version(text))
    assert TAG.fullmatch(text)


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2", "1.2.3.4", "v1.2.3", "1.02.3", "1.2.3-rc1", "1.2.3RC1", "1!1.2.3", "1.2.3+x",
     "1.2.3.dev1", "1.2.3\n"]
)  # fmt: skip
def test_what_is_no_version(text: str) -> None:
    with pytest.raises(BundleRefused, match="malformed: version: "):
        parse_version(text)


def test_versions_are_ordered() -> None:
    texts = ["0.9.9", "1.0.0a1", "1.0.0a10", "1.0.0b1", "1.0.0rc1", "1.0.0", "1.0.1", "1.10.0"]
    assert [*map(str, sorted(map(parse_version, texts[::-1])))] == texts


@given(parts)
def test_a_skeleton_is_its_own_skeleton(name: str) -> None:
    assert skeleton(skeleton(name)) == skeleton(name)


@pytest.mark.parametrize(
    ("one", "other"),
    [("acme", "acrne"), ("acme-tools", "acmetools"), ("polar", "po1ar"), ("oslo", "0slo"), ("via", "vla")]
)  # fmt: skip
def test_names_that_look_alike_have_one_skeleton(one: str, other: str) -> None:
    assert skeleton(one) == skeleton(other)
    assert skeleton("acme") != skeleton("apex")
