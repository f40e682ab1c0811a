"""The state of a session: a graph's last checkpoint, as text; of one that waits, all that it goes on from."""

import base64
import json
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

THREAD: Final = "session"
"""The one thread of a saver that lives for one execution."""


def config(thread: str = THREAD, namespace: str = "") -> RunnableConfig:
    """Return the part of a config that names the thread, and the subgraph within it."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": namespace}}


def load_saver(text: str | None) -> InMemorySaver:
    """Return a saver that holds what `dump_saver` told; an empty one for None."""
    saver = InMemorySaver()
    for held in json.loads(text)["checkpoints"] if text is not None else ():
        checkpoint = _loaded(saver, held)
        place = config(namespace=held["namespace"])
        placed = saver.put(place, checkpoint, held["metadata"], checkpoint["channel_versions"])
        for write in held["writes"]:
            saver.put_writes(placed, [(write["channel"], _loaded(saver, write))], write["task"])
    return saver


def dump_saver(saver: InMemorySaver, *, waiting: bool = False) -> str:
    """Return a saver's last checkpoint as text; earlier ones are not kept.

    Args:
        saver: Of one execution.
        waiting: True for a graph that was interrupted: its subgraphs' checkpoints and what its tasks wrote are kept.
    """
    names = sorted(saver.storage[THREAD]) if waiting else [""]
    return json.dumps({"checkpoints": [_dumped(saver, name, waiting=waiting) for name in names]})


def _dumped(saver: InMemorySaver, namespace: str, *, waiting: bool) -> dict[str, Any]:
    last = saver.get_tuple(config(namespace=namespace))
    if last is None:
        raise LookupError("the graph stored no checkpoint")
    kept = ("source", "step", "parents") if waiting else ("source", "step")
    return {
        "namespace": namespace,
        **_packed(saver, last.checkpoint),
        "metadata": {key: value for key, value in last.metadata.items() if key in kept},
        "writes": [
            {"task": task, "channel": channel, **_packed(saver, value)}
            for task, channel, value in (last.pending_writes or ())
            if waiting
        ],
    }


def _packed(saver: InMemorySaver, value: Any) -> dict[str, str]:
    kind, content = saver.serde.dumps_typed(value)
    return {"type": kind, "content": base64.b64encode(content).decode()}


def _loaded(saver: InMemorySaver, held: Mapping[str, Any]) -> Any:
    return saver.serde.loads_typed((held["type"], base64.b64decode(held["content"])))
