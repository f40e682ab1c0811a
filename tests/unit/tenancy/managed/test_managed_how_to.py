"""The location that the how-to shows, as it stands there."""

import re
from pathlib import Path

from orchestrator_tenancy.managed.loading import managed_definitions

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "manage-a-location.md"
FILE = re.compile(r"<!-- location: (\S+) -->\n```yaml\n(.*?)```", re.DOTALL)


def test_the_location_of_the_how_to_loads(tmp_path: Path) -> None:
    root = tmp_path / "location"
    for name, text in FILE.findall(PAGE.read_text()):
        (root / name).parent.mkdir(parents=True)
        (root / name).write_text(text)
    (root / "reviews" / "agent.py").write_text("build = None\n")
    loaded = managed_definitions(root, "acme").get_repository_def()
    keys = {key.to_user_string() for key in loaded.assets_defs_by_key}
    assert keys == {"acme/reviews", "acme/raw/documents"}
