"""What is known of a running cluster from outside: its processes, and what it changed on the machine."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from orchestrator_tools.cluster.places import Places
from orchestrator_tools.cluster.processes import ProcessId, is_running

KERNEL_SETTINGS: Final = (
    "kernel/keys/root_maxbytes",
    "kernel/keys/root_maxkeys",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
)
"""Settings of the whole machine that a kubelet changes; they are put back when the cluster goes."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """The record of one cluster.

    Attributes:
        node: The first process of its namespaces; None before it is started.
        parent: The process that made the namespaces and waits for the node; None before it is started.
        kernel: Values of `KERNEL_SETTINGS` before the cluster.
    """

    node: ProcessId | None = None
    parent: ProcessId | None = None
    kernel: Mapping[str, str] = field(default_factory=dict[str, str])


def read_record(places: Places) -> Record:
    """Return the record of a cluster; an empty one when there is none."""
    try:
        told: dict[str, Any] = json.loads(places.record.read_text())
    except (OSError, ValueError):
        return Record()
    node, parent = (ProcessId(**told[name]) if told[name] else None for name in ("node", "parent"))
    return Record(node=node, parent=parent, kernel=told["kernel"])


def write_record(places: Places, record: Record) -> None:
    """Replace the record of a cluster."""
    new = places.record.with_suffix(".new")
    new.write_text(json.dumps(asdict(record)))
    new.rename(places.record)


def node_process(places: Places) -> ProcessId | None:
    """Return the first process of the running cluster; None when there is none."""
    node = read_record(places).node
    return node if node is not None and is_running(node) else None


def kernel_settings() -> dict[str, str]:
    """Return the settings of the machine that a kubelet changes, of those that this kernel has."""
    files = {name: Path("/proc/sys", name) for name in KERNEL_SETTINGS}
    return {name: file.read_text() for name, file in files.items() if file.is_file()}
