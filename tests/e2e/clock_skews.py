"""Gives single processes of a cluster another time; the machine's clock stays as it is."""

import base64
import contextlib
import json
import subprocess
import tempfile
from collections.abc import Generator
from pathlib import Path
from typing import Any, Final

from tests.e2e.kubectl import Namespace

_COMPILE_SECONDS: Final = 60
_ROLLOUT_SECONDS: Final = 200.0
_MAP: Final = "another-clock"
_FOLDER: Final = "/another-clock"

_SOURCE: Final = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static time_t ahead(void) { const char *told = getenv("CLOCK_AHEAD"); return told ? atol(told) : 0; }

int clock_gettime(clockid_t clock, struct timespec *now)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = (int (*)(clockid_t, struct timespec *)) dlsym(RTLD_NEXT, "clock_gettime");
    int status = real(clock, now);
    if (!status && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += ahead();
    return status;
}

int gettimeofday(struct timeval *now, void *zone)
{
    struct timespec precise;
    int status = clock_gettime(CLOCK_REALTIME, &precise);
    now->tv_sec = precise.tv_sec;
    now->tv_usec = precise.tv_nsec / 1000;
    return status;
}

time_t time(time_t *kept)
{
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (kept) *kept = now.tv_sec;
    return now.tv_sec;
}
"""


def library() -> bytes:
    """Return a shared library that tells whoever loads it a time that is `CLOCK_AHEAD` seconds later."""
    with tempfile.TemporaryDirectory() as folder:
        built = Path(folder, "clock.so")
        words = ["cc", "-shared", "-fPIC", "-O2", "-s", "-x", "c", "-", "-o", str(built), "-ldl"]
        subprocess.run(words, input=_SOURCE, text=True, check=True, timeout=_COMPILE_SECONDS)
        return built.read_bytes()


@contextlib.contextmanager
def skewed(namespace: Namespace, seconds: int, *deployments: str) -> Generator[None]:
    """Have deployments whose clocks are ahead by some seconds within a block; fewer than 0 are behind.

    Raises:
        AssertionError: They do not start with it.
    """
    content = {"clock.so": base64.b64encode(library()).decode()}
    namespace.create(
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": _MAP}, "binaryData": content}
    )
    try:
        for name in deployments:
            namespace.ask("patch", "deployment", name, f"--patch={json.dumps(_patch(name, seconds))}")
        for name in deployments:
            _rolled_out(namespace, name)
        yield
    finally:
        for name in deployments:
            namespace.ask("rollout", "undo", f"deployment/{name}")
        for name in deployments:
            _rolled_out(namespace, name)
        namespace.ask("delete", "configmap", _MAP)


def _patch(name: str, seconds: int) -> dict[str, Any]:
    environment = {"LD_PRELOAD": f"{_FOLDER}/clock.so", "CLOCK_AHEAD": str(seconds)}
    container = {
        "name": name,
        "env": [{"name": variable, "value": value} for variable, value in environment.items()],
        "volumeMounts": [{"name": _MAP, "mountPath": _FOLDER}],
    }
    volumes = [{"name": _MAP, "configMap": {"name": _MAP}}]
    return {"spec": {"template": {"spec": {"containers": [container], "volumes": volumes}}}}


def _rolled_out(namespace: Namespace, name: str) -> None:
    words = ("rollout", "status", f"deployment/{name}", f"--timeout={_ROLLOUT_SECONDS:.0f}s")
    namespace.ask(*words, seconds=_ROLLOUT_SECONDS + 10)
