"""What the Dagster UI shows of a materialized agent asset: metadata, data version, and the rows."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Final

import dagster as dg

from orchestrator_assets.costs import cost_metadata
from orchestrator_assets.markdown import fenced
from orchestrator_gateway.ledger import SpentByExecutions
from orchestrator_resources.execution_batches import Row
from orchestrator_resources.gpus import GpuUse
from orchestrator_runtimes.json_values import Json, dump
from orchestrator_runtimes.messages import Usage

SAMPLE_ROWS: Final = 20
_CELL: Final = 200


def row_value(row: Row) -> dict[str, Json]:
    """Return one row of a `for_each` asset's value."""
    usage = row.usage
    return {
        "key": row.key,
        "status": status_of(row),
        "output": row.result.output if row.result else None,
        "error": str(row.error) if row.error else None,
        "error_code": row.error.code.value if row.error else None,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "model_calls": usage.model_calls,
        "tool_calls": usage.tool_calls,
        "seconds": round(row.result.seconds, 3) if row.result else None,
    }


def status_of(row: Row) -> str:
    """Return how an execution ended, in a word: `waiting`, `failed`, or its finish reason."""
    if row.waiting:
        return "waiting"
    return str(row.result.finish_reason) if row.result else "failed"


def total_usage(rows: Sequence[Row]) -> Usage:
    """Return the sum over all rows, those that an earlier try finished included."""
    names = ("input_tokens", "output_tokens", "cached_tokens", "model_calls", "tool_calls", "unmetered_calls")
    return Usage(**{name: sum(getattr(row.usage, name) for row in rows) for name in names})


def data_version(value: Json) -> dg.DataVersion:
    """Return the version of a value: equal values have equal versions, so what depends on them stays fresh."""
    return dg.DataVersion(hashlib.sha256(dump(value)).hexdigest()[:32])


def run_metadata(
    rows: Sequence[Row],
    *,
    seconds: float,
    trace_id: str,
    described: Mapping[str, Any],
    spent: SpentByExecutions | None,
) -> dict[str, Any]:
    """Return the metadata of a materialization.

    Args:
        rows: Of every execution.
        seconds: Wall time of the step's work.
        trace_id: Of the W3C trace that the executions belong to.
        described: Framework, versions, digests and the like, by name.
        spent: What the executions spent; None when no gateway told it.
    """
    reasons = Counter(
        str(row.result.finish_reason) if row.result else f"failed: {row.error and row.error.code}"
        for row in rows
    )
    # in the order in which the UI shows it: what people look for first
    return {
        **_outcome(rows),
        **spending(rows, spent),
        "seconds": round(seconds, 3),
        "executions": len(rows),
        "failed": sum(row.error is not None for row in rows),
        "replayed": sum(row.replayed for row in rows),
        "finish_reasons": dg.MetadataValue.json(dict(reasons)),
        **described,
        "trace_id": trace_id,
    }


def gpu_metadata(used: Sequence[GpuUse]) -> dict[str, Any]:
    """Return what GPUs did meanwhile, for whoever they did it; nothing where none was asked for."""
    if not used:
        return {}
    return {
        "gpus": ", ".join(use.gpu.name for use in used),
        "gpu_busy": _mean([use.busy for use in used]),
        "gpu_memory_peak_mb": max(use.memory_peak_mb for use in used),
        "gpu_energy_joules": _sum([use.energy_joules for use in used]),
    }


def _mean(values: Sequence[float | None]) -> float | None:
    total = _sum(values)
    return None if total is None else round(total / len(values), 3)


def _sum(values: Sequence[float | None]) -> float | None:
    """Return a sum; None where one of the values is not known."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def spending(rows: Sequence[Row], spent: SpentByExecutions | None) -> dict[str, Any]:
    """Return what executions cost, and what they used."""
    usage = total_usage(rows)
    return {
        **cost_metadata(spent),
        "model_calls": usage.model_calls,
        "tool_calls": usage.tool_calls,
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cached_tokens": usage.cached_tokens,
        "unmetered_calls": usage.unmetered_calls,
    }


def _outcome(rows: Sequence[Row]) -> dict[str, Any]:
    if len(rows) == 1 and rows[0].result is not None:
        return {"output": dg.MetadataValue.md(fenced(_cell(rows[0].result.output, 2_000)))}
    return {"rows": rows_table(rows)}


def rows_table(rows: Sequence[Row]) -> dg.TableMetadataValue:
    """Return a sample of rows: first those that failed, then those that wait."""
    failed_first = sorted(rows, key=lambda row: (row.error is None, not row.waiting))[:SAMPLE_ROWS]
    records = [
        dg.TableRecord(
            {
                "key": row.key,
                "status": status_of(row),
                "output or error": _cell(row.result.output if row.result else str(row.error), _CELL),
                "tokens": row.usage.input_tokens + row.usage.output_tokens,
            }
        )
        for row in failed_first
    ]
    columns = [
        dg.TableColumn(name, "int" if name == "tokens" else "string")
        for name in ("key", "status", "output or error", "tokens")
    ]
    return dg.MetadataValue.table(records, schema=dg.TableSchema(columns=columns))


def _cell(value: Json, most: int) -> str:
    text = value if isinstance(value, str) else dump(value).decode()
    return text if len(text) <= most else text[:most] + "…"
