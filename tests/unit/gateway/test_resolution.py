"""Where a gateway's journal is, by its file and the secrets that it names."""

import json
from pathlib import Path

import pytest

from orchestrator_gateway.resolution import resolve
from orchestrator_gateway.settings_files import BadConfiguration
from tests.integration.key_files import key_file


def written(folder: Path, journal: object) -> Path:
    (folder / "secret").write_text("s" * 32)
    file = folder / "gateway.yaml"
    upstreams = {"only": {"base_url": "http://127.0.0.1:1/v1"}}
    rest = {"upstreams": upstreams, "default": {"upstream": "only"}}
    file.write_text(json.dumps({"secret": {"file": "secret"}, "journal": journal, **rest}))
    return file


def test_a_file_is_beside_the_configuration_and_a_database_where_a_secret_says(tmp_path: Path) -> None:
    assert resolve(written(tmp_path, {"sqlite": "j.db"})).journal == str(tmp_path / "j.db")
    (tmp_path / "url").write_text("postgresql://user@host/database\n")
    assert (
        resolve(written(tmp_path, {"postgresql": {"file": "url"}})).journal
        == "postgresql://user@host/database"
    )


def test_what_is_no_url_of_postgresql_is_refused_without_telling_it(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("host=somewhere dbname=it")
    with pytest.raises(
        BadConfiguration, match=r"gateway\.yaml: journal\.postgresql: it must be a URL"
    ) as told:
        resolve(written(tmp_path, {"postgresql": {"file": "url"}}))
    assert "somewhere" not in str(told.value)


def test_limits_of_the_journal_are_read_and_checked(tmp_path: Path) -> None:
    journal = {"sqlite": "j.db", "limits": {"retention_seconds": 60, "lease_seconds": 2}}
    limits = resolve(written(tmp_path, journal)).configuration.journal.limits
    assert (limits.retention_seconds, limits.lease_seconds) == (60, 2)
    with pytest.raises(BadConfiguration, match="lease_seconds is 1 or more"):
        resolve(written(tmp_path, {"sqlite": "j.db", "limits": {"lease_seconds": 0.1}}))


def test_the_keys_of_tenants_are_beside_the_configuration_and_read_when_it_is(tmp_path: Path) -> None:
    file = written(tmp_path, {"sqlite": "j.db", "keys": {"file": "keys.json"}})
    with pytest.raises(
        BadConfiguration, match=r"gateway\.yaml: journal\.keys: '.*/keys\.json': cannot be read"
    ):
        resolve(file)
    key_file(tmp_path / "keys.json", "acme")
    assert resolve(file).tenant_keys == tmp_path / "keys.json"
    assert resolve(written(tmp_path, {"sqlite": "j.db"})).tenant_keys is None
