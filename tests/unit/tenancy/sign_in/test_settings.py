"""The file of a sign-in: what is taken, and what a refusal says."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from orchestrator_gateway.settings_files import BadConfiguration
from orchestrator_tenancy.sign_in.settings import load, read_secrets

WRITTEN: dict[str, Any] = {
    "url": "https://orchestrator.example",
    "secret": {"file": "secret"},
    "provider": {"issuer": "https://sso.example/realms/acme", "client_id": "orchestrator"},
}


def written(folder: Path, **sections: Any) -> Path:
    whole = {**WRITTEN, **sections}
    whole["provider"] = {**WRITTEN["provider"], **sections.get("provider", {})}
    (folder / "sign-in.yaml").write_text(json.dumps(whole))
    return folder / "sign-in.yaml"


def test_little_has_to_be_said(tmp_path: Path) -> None:
    settings = load(written(tmp_path))
    assert settings.origin == "https://orchestrator.example" and settings.prefix == "" and settings.https
    assert (
        settings.provider.scopes == ("openid", "profile", "email") and settings.provider.leeway_seconds == 60
    )


def test_a_platform_may_be_below_a_path_and_have_a_port(tmp_path: Path) -> None:
    settings = load(written(tmp_path, url="https://Host.example:8443/agents/ours"))
    assert settings.origin == "https://host.example:8443" and settings.prefix == "/agents/ours"


@pytest.mark.parametrize(
    ("sections", "why"),
    [
        (
            {"url": "http://orchestrator.example"},
            "url: 'http://orchestrator.example' must begin with https://",
        ),
        ({"url": "https://orchestrator.example/"}, "url: leave out the last slash"),
        ({"url": "orchestrator.example"}, "is no address such as"),
        ({"url": "https://a.example/?x=1"}, "may have a host, a port and a path only"),
        ({"url": "https://user@a.example"}, "may have a host, a port and a path only"),
        ({"url": "https://a.example:x"}, "is no address"),
        ({"url": "https://a.example\r\nX: y"}, "is no address"),
        ({"secret": {}}, "a secret is {env: NAME} or {file: path}, and one of them only"),
        ({"colour": 1}, "unknown key 'colour'"),
        (
            {"provider": {"issuer": "http://sso.example"}},
            "issuer: 'http://sso.example' must begin with https://",
        ),
        ({"provider": {"client_id": ""}}, "client_id: it is empty"),
        ({"provider": {"scopes": ["profile"]}}, "'openid' must be among them"),
        ({"provider": {"algorithms": ["none"]}}, "provider.algorithms[0]: expected one of"),
        ({"provider": {"algorithms": ["HS256"]}}, "provider.algorithms[0]: expected one of"),
        ({"provider": {"algorithms": []}}, "there must be one at least"),
        ({"provider": {"leeway_seconds": 301}}, "at most five minutes"),
        ({"provider": {"timeout_seconds": 0}}, "more than 0, and at most 60"),
        ({"provider": {"parameters": {"state": "x"}}}, "'state' is set by the sign-in itself"),
        ({"claims": [{"claim": "groups", "value": "("}]}, "no regular expression"),
        ({"claims": [{"claim": "groups", "value": "a"}]}, "tenant: name one here"),
        ({"claims": [{"claim": "groups", "value": "a", "tenant": "red"}]}, "role: name one here"),
        (
            {"claims": [{"claim": "g", "value": "a", "tenant": "red", "role": "operator"}]},
            "an operator is of no tenant",
        ),
        ({"claims": [{"claim": "g", "value": "a", "tenant": "red", "role": "boss"}]}, "expected one of"),
        ({"sessions": {"idle_seconds": 59}}, "idle_seconds: at least 60"),
        ({"sessions": {"idle_seconds": 7200, "longest_seconds": 3600}}, "at most longest_seconds"),
        ({"sessions": {"recheck_seconds": 31}}, "recheck_seconds: from 0.1 to 30"),
        ({"sessions": {"of_one_person": 0}}, "of_one_person: at least 1"),
        ({"throttle": {"per_minute": 0}}, "at least 1 a minute"),
        ({"throttle": {"trusted_proxies": -1}}, "trusted_proxies: at least 0"),
    ],
)
def test_what_cannot_be_taken_is_named(tmp_path: Path, sections: dict[str, Any], why: str) -> None:
    with pytest.raises(BadConfiguration, match=re.escape(why)) as refused:
        load(written(tmp_path, **sections))
    assert len(str(refused.value).splitlines()) == 1


def test_secrets_are_read_from_where_they_stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLIENT", "from the provider")
    (tmp_path / "secret").write_text("n" * 32)
    (tmp_path / "before").write_text("b" * 32)
    file = written(
        tmp_path, former_secrets=[{"file": "before"}], provider={"client_secret": {"env": "CLIENT"}}
    )
    secrets = read_secrets(load(file), tmp_path)
    assert secrets.sealing == ("n" * 32, "b" * 32) and secrets.client == "from the provider"
    assert "n" * 32 not in repr(secrets) and "from the provider" not in repr(secrets)


@pytest.mark.parametrize(
    ("text", "why"),
    [(None, "secret: the file"), ("short", "secret: has 5 characters, fewer than 32"), ("", "secret: ")],
)
def test_a_secret_that_is_none_is_named(tmp_path: Path, text: str | None, why: str) -> None:
    if text is not None:
        (tmp_path / "secret").write_text(text)
    with pytest.raises(BadConfiguration, match=re.escape(why)):
        read_secrets(load(written(tmp_path)), tmp_path)


def test_what_the_how_to_shows_can_be_used(tmp_path: Path) -> None:
    page = Path(__file__).parents[4] / "docs" / "how-to" / "sign-in.md"
    blocks: list[dict[str, Any]] = [
        yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    ]
    assert len(blocks) == 4, "the first, and those of Keycloak, Auth0 and Dex"
    for block in blocks:
        whole = {**blocks[0], **block}
        (tmp_path / "sign-in.yaml").write_text(json.dumps(whole))
        assert load(tmp_path / "sign-in.yaml").claims
