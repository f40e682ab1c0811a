"""What is in the images, seen from inside of their containers."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from orchestrator_cluster.images.recipes import Recipe, recipes_of
from orchestrator_resources.environments import lock_digest
from tests.e2e.images import FRAMEWORKS
from tests.e2e.kubectl import Namespace
from tests.e2e.pods import container, pod

pytestmark = pytest.mark.timeout(900)

NAMES = ("dagster", "web", "gateway", *FRAMEWORKS)
BASE_MB = 150

LOOK = """
import importlib.util, json, os, pathlib, sys
environment = pathlib.Path(sys.prefix)
marker = json.loads((environment / "orchestrator.json").read_text())
size = 0
for parent, folders, files in os.walk("/"):
    if parent == "/":
        folders[:] = [name for name in folders if name not in ("proc", "sys", "dev", "tmp", "run")]
    for name in files:
        try:
            size += os.lstat(os.path.join(parent, name)).st_size
        except OSError:
            pass
compiled, without = 0, []
for root in (environment, pathlib.Path("/opt/orchestrator-code")):
    for source in root.rglob("*.py"):
        made = pathlib.Path(importlib.util.cache_from_source(str(source)))
        # flags: the hash of the source is in it, and nobody compares it
        if made.exists() and made.read_bytes()[4:8] == (1).to_bytes(4, "little"):
            compiled += 1
        else:
            without.append(str(source))
print(json.dumps({
    "user": os.getuid(), "digest": environment.name, "environment": marker["size"], "size": size,
    "compiled": compiled, "without": without[:5], "count": len(without), "writable": os.access("/opt", os.W_OK),
    "left": [path for path in ("/build", "/cache", "/settings", "/run/secrets/packages") if os.path.exists(path)],
}))
"""


def recipe(name: str) -> Recipe:
    return recipes_of([name])[0]


@pytest.mark.parametrize("name", NAMES)
def test_an_image_is_small_compiled_and_runs_as_its_own_user(
    name: str, images: Mapping[str, str], namespace: Namespace
) -> None:
    main = container("main", images[name], "", resources={"limits": {"memory": "256Mi"}})
    main["command"] = ["python", "-c", LOOK]
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    namespace.create(pod("look", main, securityContext=security))
    seen: Any = json.loads(namespace.finish("look"))
    assert seen["user"] == recipe(name).user and not seen["writable"]
    assert seen["digest"] == lock_digest(recipe(name).lock), "the environment that bindings name"
    assert seen["left"] == [], "nothing of the build is in it"
    # what cannot be compiled are templates and tests for other Pythons
    assert seen["compiled"] > 20 * seen["count"], seen["without"]
    assert seen["size"] <= seen["environment"] + BASE_MB * 10**6
