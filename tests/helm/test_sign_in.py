"""What the sign-in is told: as the web server itself reads it."""

from pathlib import Path

import pytest

from orchestrator_tenancy.identities import Role
from orchestrator_tenancy.sign_in.settings import load
from tests.helm.charts import LEAST, ONE_TEAM, TEAMS, Refused, render


def test_the_web_server_takes_it(tmp_path: Path) -> None:
    (found,) = render(TEAMS, {"control": {"signIn": {"throttle": {"per_minute": 7}}}}).of("sign-in.yaml")
    (tmp_path / "sign-in.yaml").write_text(found["data"]["sign-in.yaml"])
    settings = load(tmp_path / "sign-in.yaml")
    assert settings.url == "https://agents.example" and settings.secret.env == "SIGN_IN_SECRET"
    assert settings.provider.client_id == "agents"
    assert settings.claims[0].claim == "groups" and settings.throttle.per_minute == 7


def test_an_operator_is_one_by_a_rule(tmp_path: Path) -> None:
    claims = [{"claim": "groups", "value": "operators", "role": "operator"}]
    (found,) = render(TEAMS, {"control": {"signIn": {"claims": claims}}}).of("sign-in.yaml")
    (tmp_path / "sign-in.yaml").write_text(found["data"]["sign-in.yaml"])
    assert load(tmp_path / "sign-in.yaml").claims[0].role is Role.OPERATOR


def test_changed_settings_start_the_web_server_anew() -> None:
    def checksum(name: str) -> str:
        (found,) = render(TEAMS, {"control": {"signIn": {"name": name}}}).of("web-server-deployment.yaml")
        told: str = found["spec"]["template"]["metadata"]["annotations"]["checksum/sign-in"]
        return told

    assert checksum("name") != checksum("nickname")


def test_one_team_has_none() -> None:
    assert render(LEAST).of("sign-in.yaml") == render(TEAMS, ONE_TEAM).of("sign-in.yaml") == []


@pytest.mark.parametrize(
    ("wrong", "where"),
    [
        ({"provider": {"issuer": 7}}, "control/signIn/provider/issuer"),
        ({"providers": {}}, "control/signIn"),
        ({"claims": [{"value": "x"}]}, "control/signIn/claims/0"),
    ],
)
def test_wrong_settings_are_refused_with_their_place(wrong: dict[str, object], where: str) -> None:
    with pytest.raises(Refused, match=where):
        render(TEAMS, {"control": {"signIn": wrong}})
