"""What a tenant's folder may hold, and where Python must not look."""

import os
from pathlib import Path

import pytest

from orchestrator_tenancy.managed import folders
from orchestrator_tenancy.managed.folders import refuse_imports_from, yaml_files
from orchestrator_tenancy.managed.refusals import NotManaged
from tests.unit.tenancy.managed.folders import GOOD, Folder


def refused(folder: Folder) -> str:
    with pytest.raises(NotManaged) as error:
        yaml_files(folder.root)
    return str(error.value)


def test_component_files_are_found_at_any_depth(folder: Folder) -> None:
    folder.write("a/b/c/defs.yml", GOOD)
    folder.write("a/b/other.yaml", "not: ours")
    folder.write(".git/hooks/defs.yaml", GOOD)
    (folder.root / ".git" / "link").symlink_to("/etc")
    found = [file.relative_to(folder.root).as_posix() for file in yaml_files(folder.root)]
    assert found == ["a/b/c/defs.yml", "one/defs.yaml"]


@pytest.mark.parametrize("target", ["/etc/passwd", "/etc", "agent.py", "nowhere"])
@pytest.mark.parametrize("name", ["link.py", "defs.yml", ".hidden"])
def test_links_are_refused(folder: Folder, target: str, name: str) -> None:
    (folder.root / "one" / name).symlink_to(target)
    assert refused(folder).startswith(f"one/{name}: is a link or a special file")


def test_pipes_are_refused(folder: Folder) -> None:
    os.mkfifo(folder.root / "one" / "data")
    assert "one/data: is a link or a special file" in refused(folder)


@pytest.mark.parametrize("name", ["component.py", "component.yaml"])
def test_components_of_other_forms_are_refused(folder: Folder, name: str) -> None:
    folder.write(f"two/{name}", "x = 1")
    assert refused(folder).startswith(f"two/{name}: managed locations load no Python")


def test_two_names_of_one_file_are_refused(folder: Folder) -> None:
    folder.write("one/defs.yml", GOOD)
    assert refused(folder) == "one: has defs.yaml and defs.yml: keep one"


def test_too_much_is_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.write("/".join(["d"] * folders.DEPTH) + "/x", "")
    assert f"deeper than {folders.DEPTH} folders" in refused(folder)
    monkeypatch.setattr(folders, "ENTRIES", 2)
    assert "more than 2 files" in refused(folder)


def test_many_components_are_refused(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folders, "YAML_FILES", 0)
    assert "more than 0 defs.yaml" in refused(folder)


def test_where_python_must_not_import_from(tmp_path: Path) -> None:
    root, elsewhere = tmp_path / "location", tmp_path / "elsewhere"
    (root / "one").mkdir(parents=True)
    elsewhere.mkdir()
    (elsewhere / "link").symlink_to(root / "one")
    refuse_imports_from(root, path=["", "lib", str(tmp_path)], here=elsewhere)
    for path, here in (
        ([str(root)], elsewhere),
        (["../location/one"], elsewhere),
        ([str(elsewhere / "link")], elsewhere),
        ([""], root),
        ([], root / "one"),
    ):
        with pytest.raises(NotManaged, match="Python would import from"):
            refuse_imports_from(root, path=path, here=here)
