import json
import sys
from pathlib import Path

import pytest

from orchestrator_cluster.images import install
from orchestrator_cluster.images.install import client_settings
from orchestrator_cluster.images.package_clients import client_secrets


def build_sees(home: Path, folder: Path, environment: dict[str, str]) -> tuple[dict[str, str], Path]:
    """Return the variables and the home folder that package clients have in a build."""
    secrets, settings = folder / "secrets", folder / "settings"
    secrets.mkdir(parents=True)
    for name, content in client_secrets(home, environment).items():
        (secrets / name).write_bytes(content)
    return client_settings(secrets, settings), settings


def test_clients_in_a_build_are_told_what_the_users_own_are_told(tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / ".config" / "uv").mkdir(parents=True)
    (home / ".npmrc").write_text("registry=https://npm.example")
    (home / ".config" / "uv" / "uv.toml").write_text("native-tls = true")
    (tmp_path / "authority.pem").write_text("certificates")
    given = {
        "UV_DEFAULT_INDEX": "https://me:secret@index.example/simple",
        "HTTPS_PROXY": "http://proxy.example:3128",
        "no_proxy": "localhost",
        "npm_config_strict_ssl": "true",
        "SSL_CERT_FILE": str(tmp_path / "authority.pem"),
    }
    found, settings = build_sees(home, tmp_path, given)
    for name in ("UV_DEFAULT_INDEX", "HTTPS_PROXY", "no_proxy", "npm_config_strict_ssl"):
        assert found[name] == given[name]
    assert (settings / ".npmrc").read_text() == "registry=https://npm.example"
    assert (settings / ".npmrc").stat().st_mode & 0o777 == 0o600
    assert (settings / ".config" / "uv" / "uv.toml").read_text() == "native-tls = true"
    assert (
        Path(found["SSL_CERT_FILE"]).read_text()
        == Path(found["NODE_EXTRA_CA_CERTS"]).read_text()
        == "certificates"
    )
    assert found["HOME"] == str(settings)


def test_folders_and_other_secrets_of_this_machine_stay_here(tmp_path: Path) -> None:
    given = {
        "UV_CACHE_DIR": "/mine",
        "UV_PYTHON": "3.12",
        "UV_PROJECT_ENVIRONMENT": "/mine",
        "npm_config_cache": "/mine",
        "npm_config_nodedir": "/mine",
        "npm_config_userconfig": "/mine",
        "OPENAI_API_KEY": "key",
        "DAGSTER_PG_PASSWORD": "password",
        "SSL_CERT_FILE": "/not/there",
    }
    told = json.loads(client_secrets(tmp_path, given)["packages"])
    assert told["variables"] == {}
    found, _ = build_sees(tmp_path / "none", tmp_path, given)
    assert "/mine" not in found.values() and "SSL_CERT_FILE" not in found


def test_a_file_that_a_variable_names_is_the_one_of_the_build(tmp_path: Path) -> None:
    (tmp_path / "named.toml").write_text("offline = true")
    _, settings = build_sees(tmp_path / "none", tmp_path, {"UV_CONFIG_FILE": str(tmp_path / "named.toml")})
    assert (settings / ".config" / "uv" / "uv.toml").read_text() == "offline = true"


def test_a_base_with_another_python_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "environment.json").write_text(json.dumps({"python": "3.9", "lock": "", "node": None}))
    monkeypatch.setattr(install, "BUILD", tmp_path)
    monkeypatch.setattr(sys, "argv", ["install", "environment"])
    has = f"{sys.version_info.major}.{sys.version_info.minor}"
    with pytest.raises(
        SystemExit, match=f"the base image has Python {has}, and the environment is named by Python 3.9"
    ):
        install.main()
