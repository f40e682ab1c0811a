"""What the test cluster is made of: packages, programs, images."""

import hashlib
import json
import subprocess
import tarfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_tools.cluster.buildah import buildah_command
from orchestrator_tools.cluster.caches import cached, digest_of
from orchestrator_tools.cluster.cgroups import hand_down_controllers, hierarchies
from orchestrator_tools.cluster.commands import ClusterError, run, tail
from orchestrator_tools.cluster.debian import PACKAGES, download_command, release_of, tree_environment
from orchestrator_tools.cluster.go_programs import (
    COREDNS,
    HELM,
    KUBE_ROUTER,
    KUBERNETES,
    PROGRAMS,
    SOURCES,
    GoProgram,
    build_command,
    linker_flags,
    program_folder,
    version_of,
)
from orchestrator_tools.cluster.image_archives import layer_of_programs, write_image
from orchestrator_tools.cluster.images import tar_command

OS_RELEASE = 'PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\nVERSION_CODENAME=bookworm\nID=debian\n'


@pytest.mark.parametrize(
    ("text", "release"),
    [(OS_RELEASE, "bookworm"), ('VERSION_CODENAME="noble"', "noble"), ("ID=alpine\n", ""), ("", "")],
)
def test_the_release_is_read_from_what_the_system_says(text: str, release: str) -> None:
    assert release_of(text) == release


def test_packages_are_downloaded_and_never_installed() -> None:
    wanted = [f"{name}={version}*" for name, version in PACKAGES.items()]
    command = download_command(Path("/archives"), wanted)
    assert "--download-only" in command
    assert {*wanted, "--option=Dir::Cache::archives=/archives"} <= set(command)


def test_unpacked_programs_come_before_the_machines_own() -> None:
    assert tree_environment(Path("/tree"))["PATH"].startswith("/tree/usr/sbin:/tree/usr/bin:")


def test_every_program_has_a_hashed_lock_or_no_dependencies() -> None:
    programs = (*PROGRAMS, HELM)
    assert {program.name for program in programs} == {
        path.name for path in SOURCES.iterdir() if path.is_dir()
    }
    for program in programs:
        required = "require" in (SOURCES / program.name / "go.mod").read_text()
        assert (SOURCES / program.name / "go.sum").is_file() == required, program.name


def test_a_version_is_that_of_the_lock() -> None:
    for program in (KUBERNETES, COREDNS, KUBE_ROUTER, HELM):
        version = version_of(program, (SOURCES / program.name / "go.mod").read_text())
        assert f"{program.module} {version} h1:" in (SOURCES / program.name / "go.sum").read_text()
    with pytest.raises(ClusterError, match=r"tools/go/coredns/go.mod requires no version of"):
        version_of(COREDNS, "module other\n")


def test_kubernetes_tells_its_version() -> None:
    flags = linker_flags(KUBERNETES, "v1.99.7")
    for variable, value in (("gitVersion", "v1.99.7"), ("gitMajor", "1"), ("gitMinor", "99")):
        assert f"-X k8s.io/component-base/version.{variable}={value}" in flags
    assert linker_flags(PROGRAMS[0], "1") == "-s -w"
    command = build_command(Path("/go"), KUBE_ROUTER, "v2", Path("/out"))
    assert command[-3:] == ["-o", "/out", "github.com/cloudnativelabs/kube-router/v2/cmd/kube-router"]
    assert "-mod=readonly" in command


def test_a_built_program_is_named_by_what_it_is_built_from() -> None:
    folders = [program_folder(program, Path("/cache")) for program in PROGRAMS]
    assert len(set(folders)) == len(PROGRAMS)
    other = GoProgram(name="coredns", module=COREDNS.module, told=("a.b=1",))
    assert program_folder(other, Path("/cache")) not in folders


@given(st.dictionaries(st.text(), st.binary()), st.dictionaries(st.text(), st.binary()))
def test_other_files_have_another_digest(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    assert (digest_of(first) == digest_of(second)) == (first == second)


def test_what_was_not_finished_is_made_again_and_what_is_there_is_not(tmp_path: Path) -> None:
    target, made = tmp_path / "new" / "program-1", list[Path]()

    def make(path: Path) -> None:
        made.append(path)
        path.mkdir()
        (path / f"{len(made)}").touch()
        if len(made) == 1:
            raise ClusterError("no space")

    with pytest.raises(ClusterError, match="no space"):
        cached(target, make)
    assert not target.exists()
    assert cached(target, make) == cached(target, make) == target
    assert [path.name for path in target.iterdir()] == ["2"] and len(made) == 2


def test_of_several_that_ask_at_once_one_makes(tmp_path: Path) -> None:
    target, made = tmp_path / "program-1", list[Path]()
    barrier = threading.Barrier(4)

    def make(path: Path) -> None:
        made.append(path)
        path.write_text("made")

    def ask(_: int) -> str:
        barrier.wait(30)
        return cached(target, make).read_text()

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(4))) == ["made"] * 4
    assert len(made) == 1


def test_an_image_is_what_its_digests_say(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF")
    layer, archive = tmp_path / "layer.tar", tmp_path / "image.tar"
    layer_of_programs(layer, {"pause": program})
    write_image(archive, "localhost/pause:1", layer, entrypoint=("/pause",))
    with tarfile.open(archive) as image:
        contents = {entry.name: image.extractfile(entry) for entry in image}
        texts = {name: content.read() for name, content in contents.items() if content is not None}
    (manifest,) = json.loads(texts["manifest.json"])
    settings = texts[manifest["Config"]]
    assert manifest["Config"] == f"{hashlib.sha256(settings).hexdigest()}.json"
    assert manifest["RepoTags"] == ["localhost/pause:1"]
    (layer_name,) = manifest["Layers"]
    digest = hashlib.sha256(texts[layer_name]).hexdigest()
    told = json.loads(settings)
    assert told["rootfs"]["diff_ids"] == [f"sha256:{digest}"]
    assert told["config"]["Entrypoint"] == ["/pause"]
    assert len(told["history"]) == 1, "builds on it count layers by it"
    with tarfile.open(layer) as files:
        assert files.getmember("pause").mode == 0o755


def test_the_same_program_makes_the_same_image(tmp_path: Path) -> None:
    made: list[bytes] = []
    for number in range(2):
        program = tmp_path / f"program{number}"
        program.write_bytes(b"same")
        layer, archive = tmp_path / f"{number}.layer", tmp_path / f"{number}.tar"
        layer_of_programs(layer, {"pause": program})
        write_image(archive, "localhost/pause:1", layer)
        made.append(archive.read_bytes())
    assert made[0] == made[1]


def test_a_systems_files_are_packed_without_devices_and_lists(tmp_path: Path) -> None:
    root = tmp_path / "root"
    for name in ("dev/null", "var/lib/apt/lists/a", "usr/bin/python3", "usr/share/doc/a/copyright"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(name)
    layer = tmp_path / "layer.tar"
    subprocess.run(tar_command(root, layer), check=True, timeout=30)
    with tarfile.open(layer) as files:
        assert [entry.name for entry in files if entry.isfile()] == ["./usr/bin/python3"]


def test_buildah_keeps_its_store_in_the_cache_and_its_mounts_to_itself(tmp_path: Path) -> None:
    (tmp_path / "usr" / "lib" / "x86_64-linux-gnu").mkdir(parents=True)
    command = buildah_command(tmp_path, Path("/cache"), ["build", "--tag=a", "/context"])
    assert command[:2] == ["unshare", "--mount"]
    assert command[command.index("buildah") - 1] == "/usr/lib/x86_64-linux-gnu"
    assert "--root=/cache/buildah/store" in command
    policy = f"--signature-policy={tmp_path}/etc/containers/policy.json"
    assert command[command.index("build") :] == ["build", policy, "--tag=a", "/context"]


def test_cgroups_are_found_in_both_versions() -> None:
    mounts = (
        "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\n"
        "cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n"
        "proc /proc proc rw 0 0\n"
    )
    assert list(hierarchies(mounts)) == [Path("/sys/fs/cgroup/cpu"), Path("/sys/fs/cgroup/unified")]


@pytest.mark.parametrize(
    ("handed", "written"),
    [
        ("cpu io memory pids\n", "+cpuset"),
        ("", "+cpu +cpuset +memory +pids"),
        ("cpu cpuset memory pids\n", None),
    ],
)
def test_controllers_are_handed_down_if_they_are_not(
    tmp_path: Path, handed: str, written: str | None
) -> None:
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text(handed)
    hand_down_controllers(tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == (handed if written is None else written)


def test_the_first_version_has_nothing_to_hand_down(tmp_path: Path) -> None:
    hand_down_controllers(tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_command_that_fails_is_told_with_the_end_of_what_it_said() -> None:
    with pytest.raises(ClusterError, match=r"sh ended with status 3: sh -c .*\n    the reason"):
        run(["sh", "-c", "echo the reason >&2; exit 3"], seconds=10)
    with pytest.raises(ClusterError, match="sleep did not end within"):
        run(["sleep", "60"], seconds=0.1)
    with pytest.raises(ClusterError, match="no-such-program cannot be started"):
        run(["no-such-program"], seconds=10)
    assert run(["cat"], seconds=10, text="in") == "in"


def test_a_tail_is_short() -> None:
    assert tail("a\nb\nc\n", 2) == "    b\n    c\n"
