"""Redis servers of tests: Debian's, unpacked into the cache; each in a folder of its own, killed and started again."""

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Generator
from pathlib import Path
from typing import Final

import redis

from orchestrator_marketplace.event_streams import connect
from orchestrator_tools.cluster.caches import cached
from orchestrator_tools.cluster.commands import ClusterError, run
from orchestrator_tools.cluster.debian import DOWNLOAD_SECONDS, UNPACK_SECONDS
from orchestrator_tools.cluster.places import places

VERSION: Final = "5:7.0.15"
_PACKAGES: Final = (f"redis-server={VERSION}*", f"redis-tools={VERSION}*")
_LIBRARIES: Final = ("libatomic1", "libjemalloc2", "liblzf1")
_SECONDS: Final = 30.0


class RedisServer:
    """A server at a port of this machine, which keeps nothing on the disk unless it is told to.

    Args:
        folder: Where it keeps everything.
        is_durable: Whether what it was told survives being killed.
    """

    def __init__(self, folder: Path, *, is_durable: bool) -> None:
        """Start nothing yet."""
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self._port = int(probe.getsockname()[1])
        self._folder, self._is_durable = folder, is_durable
        self._tree = cached(places().cache / f"redis-{VERSION.partition(':')[2]}", _unpack)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Where it is."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start(self) -> None:
        """Start it, and return when it serves."""
        settings = ["--appendonly", "yes", "--appendfsync", "always"] if self._is_durable else []
        libraries = [str(folder) for folder in (self._tree / "usr" / "lib").glob("*-linux-gnu")]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    str(self._tree / "usr" / "bin" / "redis-server"),
                    *("--bind", "127.0.0.1", "--port", str(self._port)),
                    *("--dir", str(self._folder), "--save", "", *settings),
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={"PATH": os.environ["PATH"], "LD_LIBRARY_PATH": ":".join(libraries)},
            )
        until = time.monotonic() + _SECONDS
        while not self._serves():
            assert self._process.poll() is None and time.monotonic() < until, (
                self._folder / "log"
            ).read_text()
            time.sleep(0.05)

    def kill(self) -> None:
        """End it at once; idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def do(self, *words: str | int) -> object:
        """Do one command of Redis."""
        with contextlib.closing(connect(self.url, _SECONDS)) as client:
            return client.execute_command(*words)

    def _serves(self) -> bool:
        try:
            return bool(self.do("PING"))
        except redis.RedisError:
            return False


def _unpack(tree: Path) -> None:
    archives = tree / "archives"
    archives.mkdir(parents=True)
    download = ["apt-get", "download", *_PACKAGES, *_LIBRARIES]
    try:
        run(download, seconds=DOWNLOAD_SECONDS, folder=archives)
    except ClusterError:  # the lists of packages are missing or old
        run(["apt-get", "update"], seconds=DOWNLOAD_SECONDS)
        run(download, seconds=DOWNLOAD_SECONDS, folder=archives)
    for archive in archives.glob("*.deb"):
        run(["dpkg-deb", "--extract", archive, tree], seconds=UNPACK_SECONDS)
    shutil.rmtree(archives)


@contextlib.contextmanager
def redis_server(*, is_durable: bool = False) -> Generator[RedisServer]:
    """Run a server of its own until the end, and remove all that it kept; see `RedisServer`."""
    folder = Path(tempfile.mkdtemp(prefix="redis-"))
    server = RedisServer(folder, is_durable=is_durable)
    try:
        server.start()
        yield server
    finally:
        server.kill()
        shutil.rmtree(folder)
