"""A registry of images at a port of the cluster's network: Debian's `docker-registry`, unpacked into the cache.

Container runtimes speak plain HTTP to `localhost`, so nothing has to be configured where images are pulled.
"""

import contextlib
import shlex
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Generator
from pathlib import Path
from typing import Final

from orchestrator_tools.cluster.buildah import buildah_command, buildah_environment
from orchestrator_tools.cluster.caches import cached
from orchestrator_tools.cluster.commands import ClusterError, run
from orchestrator_tools.cluster.debian import DOWNLOAD_SECONDS, UNPACK_SECONDS, unpacked_packages

PACKAGE: Final = "docker-registry"
VERSION: Final = "2.8.2"
PORT: Final = 5000

_START_SECONDS: Final = 30.0
_END_SECONDS: Final = 10.0
_SETTINGS: Final = """\
version: 0.1
log: {{level: warn}}
storage: {{filesystem: {{rootdirectory: {folder}}}, delete: {{enabled: true}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""
_PROGRAM: Final = """\
#!/bin/sh
verb=$1; shift
case $verb in
    push) set -- --tls-verify=false "$@" ;;
esac
case $verb in
    build | pull | push) set -- {signed} "$@" ;;
esac
exec {words} "$verb" "$@"
"""


def registry_program(cache: Path, network: Path | None = None) -> Path:
    """Return the registry's program; download the package and unpack it when it is not there.

    Args:
        cache: Where it is kept.
        network: A network namespace in which packages can be had; None for that of this process.

    Raises:
        ClusterError: It cannot be had.
    """
    tree = cached(cache / f"{PACKAGE}-{VERSION}", lambda new: _unpack(new, network))
    return tree / "usr" / "bin" / PACKAGE


def _unpack(tree: Path, network: Path | None) -> None:
    archives = tree / "archives"
    archives.mkdir(parents=True)
    enter = [] if network is None else ["nsenter", f"--net={network}", "--"]
    download = [*enter, "apt-get", "download", f"{PACKAGE}={VERSION}*"]
    run(download, seconds=DOWNLOAD_SECONDS, folder=archives)
    for archive in archives.glob("*.deb"):
        run(["dpkg-deb", "--extract", archive, tree], seconds=UNPACK_SECONDS)
    shutil.rmtree(archives)


@contextlib.contextmanager
def registry(cache: Path, folder: Path, network: Path | None = None, port: int = PORT) -> Generator[str]:
    """Have a registry, and yield its name, as images of it begin.

    Args:
        cache: Where its program is.
        folder: What it keeps, and what it says.
        network: See `registry_program`.
        port: Of this process's network.

    Raises:
        ClusterError: It does not start.
    """
    settings, said = folder / "registry.yaml", folder / "registry.log"
    settings.write_text(_SETTINGS.format(folder=folder / "registry", port=port))
    with said.open("w") as log:
        process = subprocess.Popen(
            [registry_program(cache, network), "serve", settings],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        _wait(process, port, said)
        yield f"localhost:{port}"
    finally:
        process.terminate()
        try:
            process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(process: "subprocess.Popen[bytes]", port: int, said: Path) -> None:
    until = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < until:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/", timeout=2).close()
            return
        time.sleep(0.1)
    raise ClusterError(f"the registry does not answer at port {port}; it said:\n{said.read_text()[-1_000:]}")


def pushing_buildah(cache: Path, folder: Path) -> Path:
    """Return a folder for `PATH` with the test cluster's buildah, which pushes to such a registry, too.

    Args:
        cache: Where buildah is.
        folder: Where the program is written.
    """
    tree = unpacked_packages(cache)
    *words, _verb = buildah_command(tree, cache, ["images"])
    signed = f"--signature-policy={tree / 'etc' / 'containers' / 'policy.json'}"
    variables = [f"{name}={value}" for name, value in buildah_environment(tree, cache).items()]
    program = folder / "buildah"
    program.write_text(_PROGRAM.format(signed=signed, words=shlex.join(["env", *variables, *words])))
    program.chmod(0o755)
    return folder
