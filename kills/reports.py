"""What is printed of trials: a line for each, and the sums at the end."""

from collections import Counter
from collections.abc import Sequence
from typing import Final

from kills.trials import Ended

_PROBLEMS: Final = 10


def line(ended: Ended, number: int, total: int) -> str:
    """Return a line of progress; of a trial that went wrong with what went wrong, and how to repeat it alone."""
    what = ", ".join(map(str, ended.trial.kills)) or "nothing is killed"
    parts = [f"{ended.runs} runs", f"{ended.kills} killed", f"{ended.seconds:.1f} s"]
    parts += [f"{name} {count}" for name, count in sorted(ended.counts.items())]
    text = f"[{number}/{total}] {ended.trial.name}: {what}: {', '.join(parts)}"
    if ended.problems:
        told = "\n    ".join(ended.problems[:_PROBLEMS])
        text += f"\n    {told}\n    again: python -m kills --only {ended.trial.name}"
    return text


def sums(ended: Sequence[Ended], seconds: float) -> str:
    """Return the last lines; the very last counts what must be 0."""
    counts = sum((one.counts for one in ended), Counter[str]())
    executions = sum(one.trial.job.items for one in ended)
    bad = [one.trial.name for one in ended if one.problems]
    lines = [f"went wrong: {' '.join(bad)}"] if bad else []
    lines.append(
        f"{len(ended)} trials with {executions} executions in {seconds:.0f} s; asked again, since their answers were"
        f" not recorded yet: {counts['models_again']} model calls, {counts['tools_again']} tools; unknown results of"
        f" `once` tools told: {counts['told_unknown']}"
    )
    lines.append(
        f"runs {sum(one.runs for one in ended)}, kills {sum(one.kills for one in ended)}, repeated model calls"
        f" {counts['repeated_models']}, repeated tools {counts['repeated_tools']}, wrong outputs {counts['wrong']}"
    )
    return "\n".join(lines)
