"""A manifest is closed: what is not known is refused, and the same manifest is the same bytes."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.manifests import MANIFEST_BYTES, Manifest, manifest_bytes, parse_manifest
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.strict_yaml import LONGEST_BYTES, parse_yaml
from orchestrator_runtimes.json_values import Json, dump
from tests.unit.marketplace.written_bundles import MANIFEST


def read(text: str | bytes) -> Manifest:
    return parse_yaml(Manifest, text.encode() if isinstance(text, str) else text, "bundle.yaml")


def test_a_manifest_is_read_and_is_its_json_again() -> None:
    manifest = read(MANIFEST)
    assert (manifest.bundle_name.publisher, manifest.bundle_version.major) == ("acme", 1)
    assert manifest.permissions.asked() == ("mcp:orders", "sessions")
    assert manifest.modules() == ("agent",)
    assert manifest.source().entrypoint == "agent:build"
    assert parse_manifest(manifest_bytes(manifest)) == manifest
    assert read(manifest_bytes(manifest)) == manifest, "JSON is YAML, too"


@given(st.permutations(MANIFEST.splitlines()))
def test_the_order_of_keys_does_not_count(lines: list[str]) -> None:
    assert manifest_bytes(read("\n".join(lines))) == manifest_bytes(read(MANIFEST))


def test_a_portable_agent_needs_the_modules_of_its_tools() -> None:
    portable = "{name: r, instructions: Read, model: m, tools: [{function: 'tools.a:f'}, {mcp: {server: s}}]}"
    manifest = read(MANIFEST.replace("entrypoint: agent:build", f"portable: {portable}"))
    assert manifest.modules() == ("tools.a",)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("bundle: 1", "bundle: 2", r"bundle.yaml: bundle: expected one of \[1\]"),
        ("version: 1.2.0", "version: 1.2", "version: expected a string"),
        ("version: 1.2.0", "version: 1.2.0.1", "version: '1.2.0.1' must be three numbers"),
        ("name: acme/reviewer", "name: acme", "name: 'acme' must be publisher/agent"),
        ("licence: Apache-2.0", "licence: Apache 2", "write an SPDX expression"),
        ("licence: Apache-2.0", "licence: apache-2.0", "is spelled 'Apache-2.0'"),
        ("licence: Apache-2.0", "license: Apache-2.0", "unknown key 'license'; did you mean 'licence'"),
        ("summary: Reads a licence", "summary: ' '", "summary: write one line"),
        ("summary: Reads a licence", 'summary: "\\e[2J"', "summary: write one line"),
        ("description: Looks up", 'description: "\\u202e"', "description: write one line"),
        ("framework: langgraph", "framework: ../x", "framework: '../x' is no name"),
        (
            "framework: langgraph",
            "framework: langgraph\nprofile: ../p.toml",
            "profile: '../p.toml' is no TOML file",
        ),
        (
            "entrypoint: agent:build",
            "entrypoint: ../agent.json",
            "entrypoint: '../agent.json' must be module:attr",
        ),
        ("entrypoint: agent:build", "entrypoint: agent", "must be module:attribute"),
        ("entrypoint: agent:build", "", "needs either an entrypoint or a portable"),
        ("bundle: 1", "bundle: 1\npricing: {currency: EUR}", "pricing: say per_call"),
        (
            "bundle: 1",
            "bundle: 1\npricing: {currency: EUR, per_call: 1}",
            "pricing.per_call: expected a string",
        ),
        ("bundle: 1", 'bundle: 1\nterms: "\\e[2J"', "terms: write text"),
        ("bundle: 1", "bundle: 1\nterms: ''", "terms: write text"),
        ("models: [smollm2]", "models: ['']", "models: '' must be"),
        ("models: [smollm2]", "models: [a b]", "models: 'a b' must be"),
        ("{memory_mb: 512}", "{memory_mb: -1}", "no less than 0"),
        ("network: gateway", "network: all", "permissions.network: expected one of"),
        ("effects: true", "effects: 1", r"tools\[0\].effects: expected true or false"),
        ("type: object, properties: {text", "typo: object, properties: {text", "inputs uses 'typo'"),
        ("type: object, properties: {ok", "pattern: x, properties: {ok", "output uses 'pattern'"),
    ],
)
def test_what_is_wrong_is_said_with_its_place(old: str, new: str, said: str) -> None:
    assert old in MANIFEST
    with pytest.raises(BundleRefused, match=said) as refused:
        read(MANIFEST.replace(old, new, 1))
    assert refused.value.refusal is Refusal.MALFORMED
    assert refused.value.message.startswith("malformed: bundle.yaml: ") and "\n" not in refused.value.message


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: &x 1\nb: *x", "line 2: aliases are not read here"),
        ("a: 1\na: 2", "line 2: the key 'a' is there twice"),
        ("1: a", "line 1: keys must be text"),
        ("? [a]\n: b", "keys must be text"),
        ("a: 2026-01-01", "dates in quotes"),
        ("a: .nan", "write text, numbers"),
        ("!!python/object:os.system x", "could not determine a constructor"),
        ("- 1", "expected an object"),
        ("a: {", "line 1"),
        ("a: " + "1" * 5_000, "malformed"),
        ("a: 2026-99-99", "malformed"),
        ("\x00", "not YAML|line 1"),
        ("[" * 100_000, "malformed"),
    ],
)
def test_yaml_that_nobody_should_have_to_read(text: str, said: str) -> None:
    with pytest.raises(BundleRefused, match=said):
        read(text)


def test_long_files_are_not_read() -> None:
    with pytest.raises(BundleRefused) as refused:
        read("a" * (LONGEST_BYTES + 1))
    assert refused.value.refusal is Refusal.OVERSIZED
    with pytest.raises(BundleRefused) as refused:
        parse_manifest(b" " * (MANIFEST_BYTES + 1))
    assert refused.value.refusal is Refusal.OVERSIZED


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_bytes_are_a_manifest_or_are_refused(content: bytes) -> None:
    for parse in (parse_manifest, read):
        with pytest.raises(BundleRefused):
            parse(content)


def test_a_registrys_manifest_has_one_spelling() -> None:
    good = manifest_bytes(read(MANIFEST))
    for other in (good + b" ", good.replace(b",", b", ", 1)):
        with pytest.raises(BundleRefused, match="canonical"):
            parse_manifest(other)
    with pytest.raises(BundleRefused, match="unknown key 'x'"):
        parse_manifest(dump({"x": 1}))


def test_what_is_nested_too_deeply_is_told() -> None:
    deep: dict[str, Json] = {}
    for _ in range(50_000):
        deep = {"a": deep}
    with pytest.raises(BundleRefused, match="malformed: the manifest"):
        manifest_bytes(replace(read(MANIFEST), options=deep))
