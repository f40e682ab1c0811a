"""A chain of outputs as text: a tree for terminals, and a graph in Mermaid's words."""

from collections.abc import Iterator

from orchestrator_sensors.lineages import Chain, Output


def tree(chain: Chain) -> str:
    """Return a chain as a tree, what something was made of below it."""
    return "\n".join(_lines(chain, "", ""))


def mermaid(chain: Chain) -> str:
    """Return a chain as a flowchart of Mermaid: from what was there first to the output."""
    nodes: dict[int, str] = {}
    arrows: dict[str, None] = {}

    def add(one: Chain) -> None:
        nodes[one.output.event] = f'  e{one.output.event}["{_label(one.output)}"]'
        for below in one.inputs:
            add(below)
            arrows[f"  e{below.output.event} --> e{one.output.event}"] = None

    add(chain)
    return "\n".join(["flowchart LR", *nodes.values(), *arrows])


def told(output: Output) -> str:
    """Return one line about an output."""
    partition = "" if output.partition is None else f" [{output.partition}]"
    made = f"  {output.at:%Y-%m-%d %H:%M}"
    run = f"  run {output.run[:8]}" if output.run else ""
    by = f"  by {output.bundle}" if output.bundle else ""
    where = f"  {output.publish} of {output.publisher}" if output.publish else ""
    return f"{output.asset}{partition}{made}{run}{by}{where}"


def _lines(chain: Chain, first: str, rest: str) -> Iterator[str]:
    yield f"{first}{told(chain.output)}"
    for number, below in enumerate(chain.inputs, start=1):
        last = number == len(chain.inputs)
        yield from _lines(below, rest + ("└── " if last else "├── "), rest + ("    " if last else "│   "))


def _label(output: Output) -> str:
    parts = [output.asset, output.partition, output.bundle, f"run {output.run[:8]}" if output.run else None]
    text = "<br>".join(part for part in parts if part)
    return text.replace('"', "'")
