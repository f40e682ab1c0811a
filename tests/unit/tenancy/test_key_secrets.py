"""Who is given which keys on a cluster."""

import base64
import json
from pathlib import Path
from typing import Any

from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_resources.sqlite_state import SqliteState
from orchestrator_tenancy.keys.key_secrets import key_secrets
from orchestrator_tenancy.keys.tenant_key_store import TenantKeys
from orchestrator_tenancy.platform_files import Release

VALUES: dict[str, Any] = {
    "gateway": {"tenantKeysSecret": {"name": "tenant-keys", "key": "keys.json"}},
    "tenants": {"red": {}, "blue": {"namespace": "blues"}},
}
RELEASE = Release(name="agents", namespace="platform", chart="chart", values=VALUES)


def held(secret: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(base64.b64decode(secret["data"]["keys.json"]))
    return found


def test_the_gateway_has_all_keys_and_a_tenant_its_own(tmp_path: Path) -> None:
    keys = TenantKeys(SqliteState(tmp_path / "keys.db"), ["m" * 32])
    keys.rotate("elsewhere")
    made = key_secrets(RELEASE, keys)
    assert {namespace: held(secret).keys() for namespace, secret in made.items()} == {
        "platform": {"red", "blue"},
        "agents-red": {"red"},
        "blues": {"blue"},
    }
    assert held(made["agents-red"])["red"] == held(made["platform"])["red"]
    assert {secret["metadata"]["name"] for secret in made.values()} == {"tenant-keys"}
    assert key_secrets(RELEASE, keys) == made, "nothing is made anew"
    keys.rotate("red")
    assert held(key_secrets(RELEASE, keys)["agents-red"])["red"].keys() == {"1", "2"}


def test_what_a_run_mounts_can_be_read_as_a_file_of_keys(tmp_path: Path) -> None:
    keys = TenantKeys(SqliteState(tmp_path / "keys.db"), ["m" * 32])
    file = tmp_path / "keys.json"
    file.write_text(json.dumps(held(key_secrets(RELEASE, keys)["blues"])))
    assert KeyFile(file, of_one=True).of("").tenant == "blue"
