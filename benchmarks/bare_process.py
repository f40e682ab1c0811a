"""The bare side: one framework, one process, one loop. Run by the framework's interpreter; imports nothing of ours.

`python -P bare_process.py bare/NAME.py` answers each line `{"count": N}` of standard input with one line of JSON.
"""

import asyncio
import importlib.util
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

MOST_THREADS = 1_016


async def run_batch(execute: Any, count: int) -> dict[str, object]:
    began = time.perf_counter()
    outcomes = await asyncio.gather(
        *(execute(f"What is the weather in Paris? EXEC-{number}.") for number in range(count)),
        return_exceptions=True,
    )
    seconds = time.perf_counter() - began
    wrong = [o for n, o in enumerate(outcomes) if not isinstance(o, str) or not o.endswith(f"EXEC-{n}")]
    return {
        "seconds": seconds,
        "failed": len(wrong),
        "first_failure": repr(wrong[0])[:300] if wrong else None,
    }


async def serve(execute: Any, answers: Any) -> None:
    loop = asyncio.get_running_loop()
    # LightAgent, CrewAI and synchronous tools run in it; asyncio's own has a handful of threads
    loop.set_default_executor(ThreadPoolExecutor(MOST_THREADS))
    reader = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    print(json.dumps({"ready": True}), file=answers, flush=True)
    while line := await reader.readline():
        answer = await run_batch(execute, json.loads(line)["count"])
        print(json.dumps(answer), file=answers, flush=True)


def main() -> None:
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the framework prints is no answer
    file = Path(sys.argv[1])
    spec = importlib.util.spec_from_file_location(f"bare_{file.stem}", file)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    asyncio.run(serve(module.execute, answers))


if __name__ == "__main__":
    main()
