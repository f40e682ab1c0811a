"""The program that builds images: docker or buildah, whichever is there."""

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from orchestrator_cluster.images.contexts import Bases, write_context
from orchestrator_cluster.images.package_clients import client_secrets
from orchestrator_cluster.images.recipes import Recipe
from orchestrator_cluster.images.wheels import ImageError

BUILD_SECONDS: Final = 3_600.0
"""n8n, whose packages are compiled in part, takes a quarter of an hour on a busy machine."""
ASK_SECONDS: Final = 30.0

_TAIL: Final = 25
_DOCKER: Final = {"DOCKER_BUILDKIT": "1"}
"""Its older builder knows neither secrets nor mounts."""

Tell = Callable[[str], None]


@dataclass(frozen=True, kw_only=True)
class Builder:
    """A program that builds images.

    Attributes:
        name: Which of the two.
        program: Where it is.
    """

    name: Literal["docker", "buildah"]
    program: str

    def build(self, recipe: Recipe, bases: Bases, reference: str, tell: Tell) -> None:
        """Build an image.

        Args:
            recipe: What it is made of.
            bases: What it is built on.
            reference: Its whole name.
            tell: Takes a line of progress.

        Raises:
            AgentError: `agent_load_failed` when the installer cannot be had.
            ImageError: The build failed; with the end of what was said.
        """
        with tempfile.TemporaryDirectory(prefix="image-") as folder:
            context, secrets = Path(folder, "context"), Path(folder, "secrets")
            context.mkdir()
            secrets.mkdir(mode=0o700)
            write_context(recipe, context)
            given: list[str] = []
            for name, content in client_secrets(Path.home(), os.environ).items():
                (secrets / name).write_bytes(content)
                given += ["--secret", f"id={name},src={secrets / name}"]
            words = self._build_words()
            words += [f"--build-arg=BASE={bases.run}", f"--build-arg=BUILD_BASE={bases.build}", *given]
            words += [f"--file={context / 'Dockerfile'}", f"--tag={reference}", str(context)]
            self._run(words, tell)

    def build_project(
        self, context: Path, dockerfile: Path, reference: str, arguments: Mapping[str, str], tell: Tell
    ) -> None:
        """Build the image of somebody's project.

        Args:
            context: The folder that the Dockerfile copies from.
            dockerfile: The Dockerfile.
            reference: Its whole name.
            arguments: Build arguments.
            tell: Takes a line of progress.

        Raises:
            ImageError: The build failed; with the end of what was said.
        """
        words = self._build_words()
        words += [f"--build-arg={name}={value}" for name, value in arguments.items()]
        self._run([*words, f"--file={dockerfile}", f"--tag={reference}", str(context)], tell)

    def _build_words(self) -> list[str]:
        if self.name == "docker":
            return ["build", "--progress=plain"]
        _, most = resource.getrlimit(resource.RLIMIT_NOFILE)  # npm opens more files than the 1,024 of buildah
        return ["build", "--layers", f"--ulimit=nofile={most}:{most}"]

    def push(self, reference: str, tell: Tell) -> None:
        """Send an image to its registry.

        Raises:
            ImageError: It is not here, or the registry does not take it.
        """
        if self.size(reference) is None:
            raise ImageError(f"{reference} is not built here: run `orchestrator images build` first")
        self._run(["push", reference], tell)

    def save(self, reference: str, archive: Path, tell: Tell) -> None:
        """Write an image to an archive, as `docker load` and the container runtimes read it.

        Raises:
            ImageError: It cannot be written.
        """
        archive.unlink(missing_ok=True)
        if self.name == "docker":
            self._run(["save", f"--output={archive}", reference], tell)
        else:
            self._run(["push", reference, f"docker-archive:{archive}:{reference}"], tell)

    def size(self, reference: str) -> str | None:
        """Return the size of an image that is here, for people; None when it is not."""
        words = ["images", "--format={{.Size}}", reference]
        done = _ask([self.program, *words])
        said = done.stdout.split("\n")[0].strip() if done is not None and done.returncode == 0 else ""
        return said or None

    def _run(self, words: Sequence[str], tell: Tell) -> None:
        _run_telling([self.program, *words], _DOCKER if self.name == "docker" else {}, tell)


def find_builder(wanted: str | None = None) -> Builder:
    """Return a builder that works here.

    Args:
        wanted: `docker` or `buildah`; None takes docker where its server answers, else buildah.

    Raises:
        ImageError: There is none.
    """
    docker, buildah = shutil.which("docker"), shutil.which("buildah")
    if wanted != "buildah" and docker is not None:
        done = _ask([docker, "version", "--format={{.Server.Version}}"])
        if done is not None and done.returncode == 0:
            return Builder(name="docker", program=docker)
    if wanted != "docker" and buildah is not None:
        return Builder(name="buildah", program=buildah)
    silent = docker is not None
    if wanted is not None:
        why = "its server does not answer: start it" if wanted == "docker" and silent else "it is not in PATH"
        raise ImageError(f"images cannot be built with {wanted}: {why}, or leave --builder out")
    first = "docker's server does not answer" if silent else "docker is not in PATH"
    raise ImageError(
        f"nothing here builds images: {first}, and buildah is not in PATH; start docker, or install one of them (on"
        " Debian and Ubuntu the packages docker.io or buildah)"
    )


def _ask(words: Sequence[str]) -> "subprocess.CompletedProcess[str] | None":
    """Run a program that answers at once; None when it does not, or cannot be started."""
    try:
        return subprocess.run(words, capture_output=True, text=True, timeout=ASK_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None


def _run_telling(words: Sequence[str], environment: Mapping[str, str], tell: Tell) -> None:
    last = deque[str](maxlen=_TAIL)
    try:
        process = subprocess.Popen(
            words,
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,  # what it starts is ended with it
        )
    except OSError as error:
        raise ImageError(f"{words[0]} cannot be started: {error}") from error
    late = threading.Event()

    def end() -> None:
        late.set()
        _kill(process.pid)

    overdue = threading.Timer(BUILD_SECONDS, end)
    overdue.start()
    with process:
        try:
            for line in process.stdout or ():
                last.append(line.rstrip())
                tell(line.rstrip())
            status = process.wait()
        finally:
            overdue.cancel()
            if process.returncode is None:
                _kill(process.pid)
    if late.is_set():
        why = f"was ended after {BUILD_SECONDS:.0f} s"
    elif status < 0:
        why = f"was ended by {signal.Signals(-status).name}"
    elif status > 0:
        why = f"ended with status {status}"
    else:
        return
    raise ImageError(f"{Path(words[0]).name} {words[1]} {why}:\n" + "\n".join(f"  {one}" for one in last))


def _kill(session: int) -> None:
    """End all that a process started; its number is its own until somebody has waited for it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(session, signal.SIGKILL)
