"""The state of a session: a graph's last checkpoint, as text."""

import base64
import json
from typing import Any, Final

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver

THREAD: Final = "session"
"""The one thread of a saver that lives for one execution."""


def config(thread: str = THREAD) -> RunnableConfig:
    """Return the part of a config that names the thread."""
    return {"configurable": {"thread_id": thread, "checkpoint_ns": ""}}


def load_saver(text: str | None) -> InMemorySaver:
    """Return a saver that holds what `dump_saver` told; an empty one for None."""
    saver = InMemorySaver()
    if text is not None:
        held: dict[str, Any] = json.loads(text)
        checkpoint = saver.serde.loads_typed((held["type"], base64.b64decode(held["checkpoint"])))
        saver.put(config(), checkpoint, held["metadata"], checkpoint["channel_versions"])
    return saver


def dump_saver(saver: InMemorySaver) -> str:
    """Return a saver's last checkpoint as text; earlier ones are not kept."""
    last = saver.get_tuple(config())
    if last is None:
        raise LookupError("the graph stored no checkpoint")
    kind, content = saver.serde.dumps_typed(last.checkpoint)
    metadata = {key: value for key, value in last.metadata.items() if key in ("source", "step")}
    return json.dumps({"type": kind, "checkpoint": base64.b64encode(content).decode(), "metadata": metadata})
