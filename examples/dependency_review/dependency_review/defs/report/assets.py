"""What the agents found, in one report: a table, a picture, and checks against what the metadata declares."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import dagster as dg

from dependency_review.frameworks import FRAMEWORKS

KINDS = ("native", "portable")
REVIEWS = {f"{kind}_{name}": dg.AssetKey(["reviews", kind, name]) for kind in KINDS for name in FRAMEWORKS}

Row = dict[str, Any]

_FAMILIES = {
    "MIT": r"\bMIT\b",
    "Apache": r"apache",
    "BSD": r"\bBSD\b|0BSD",
    "PSF": r"\bPSF\b|python software foundation",
    "MPL": r"\bMPL\b|mozilla",
    "ISC": r"\bISC\b",
    "GPL": r"GPL|general public",
    "HPND": r"HPND",
    "Unlicense": r"unlicense|public domain",
}


def families(text: str) -> set[str]:
    """Return the families of licences that a text names."""
    return {name for name, pattern in _FAMILIES.items() if re.search(pattern, text, re.IGNORECASE)}


def finding(row: Row) -> str:
    """Return what a review says of the licence, whatever shape its agent gave it."""
    output = row["output"]
    if isinstance(output, dict):
        return str(cast("Row", output).get("licence", ""))
    return str(output or "")


def compare(rows: list[Row], declared: dict[str, str]) -> list[Row]:
    """Return one line for each review: what was found, what is declared, and whether they name one family."""
    return [
        {
            "distribution": row["key"],
            "status": row["status"],
            "found": finding(row)[:100] if row["status"] == "completed" else str(row["error"])[:100],
            "declared": declared[row["key"]],
            "agrees": row["status"] == "completed"
            and bool(families(finding(row)) & families(declared[row["key"]])),
            "tokens": row["input_tokens"] + row["output_tokens"],
        }
        for row in rows
    ]


@dg.multi_asset(
    name="report",
    outs={"report": dg.AssetOut(key="report", group_name="report", kinds={"python", "matplotlib"})},
    ins={
        "declared_licences": dg.AssetIn("declared_licences"),
        **{name: dg.AssetIn(key) for name, key in REVIEWS.items()},
    },
    check_specs=[
        dg.AssetCheckSpec(
            f"{name}_finds_the_declared_licence",
            asset="report",
            description="By framework, over all reviews.",
        )
        for name in FRAMEWORKS
    ],
)
def report(
    context: dg.AssetExecutionContext, declared_licences: dict[str, str], **reviews: list[Row]
) -> Iterator[dg.MaterializeResult[Any]]:
    """The reviews of all frameworks side by side, written as report.md and report.svg."""
    lines = {name: compare(rows, declared_licences) for name, rows in reviews.items()}
    folder = Path(context.instance.storage_directory()) / "dependency_review"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.md").write_text(markdown(lines))
    (folder / "report.json").write_text(json.dumps(lines, indent=1))
    draw(lines, folder / "report.svg")
    context.log.info(f"report written to {folder / 'report.md'}")
    yield dg.MaterializeResult(
        asset_key="report",
        value=lines,
        metadata={
            "report": dg.MetadataValue.md(markdown(lines)),
            "file": dg.PathMetadataValue(folder / "report.md"),
            "picture": dg.PathMetadataValue(folder / "report.svg"),
            "agreement": share(line["agrees"] for rows in lines.values() for line in rows),
        },
        check_results=[check(name, lines) for name in FRAMEWORKS],
    )


def check(name: str, lines: dict[str, list[Row]]) -> dg.AssetCheckResult:
    """Say how often a framework's agents found the declared licence; the small model is often wrong, so it warns."""
    mine = [line for kind in KINDS for line in lines[f"{kind}_{name}"]]
    agreeing = share(line["agrees"] for line in mine)
    return dg.AssetCheckResult(
        asset_key="report",
        check_name=f"{name}_finds_the_declared_licence",
        passed=agreeing == 1.0,
        severity=dg.AssetCheckSeverity.WARN,
        metadata={
            "agreement": agreeing,
            "wrong": dg.MetadataValue.json([line for line in mine if not line["agrees"]]),
        },
    )


def share(values: Iterator[bool] | Any) -> float:
    """Return the share of true values; 0 when there are none."""
    found = list(values)
    return round(sum(found) / len(found), 3) if found else 0.0


def markdown(lines: dict[str, list[Row]]) -> str:
    """Return the report as a table with one row for each distribution and one column for each agent."""
    names = sorted(lines)
    distributions = [line["distribution"] for line in (lines[names[0]] if names else [])]
    by_name = {name: {line["distribution"]: line for line in rows} for name, rows in lines.items()}
    head = "| distribution | declared | " + " | ".join(names) + " |\n|" + "---|" * (len(names) + 2)
    body = [
        f"| {one} | {by_name[names[0]][one]['declared']} | "
        + " | ".join(_mark(by_name[name][one]) for name in names)
        + " |"
        for one in distributions
    ]
    return "\n".join(
        [head, *body, "", "✓ names the declared licence's family, ✗ does not, ! the execution failed."]
    )


def _mark(line: Row) -> str:
    return "!" if line["status"] != "completed" else ("✓" if line["agrees"] else "✗")


def draw(lines: dict[str, list[Row]], file: Path) -> None:
    """Draw what each agent found, as bars of agreeing, disagreeing and failed reviews."""
    import matplotlib  # heavy, and no other asset needs it

    matplotlib.use("svg")
    from matplotlib import pyplot

    names = sorted(lines)
    size = (8, 0.4 * len(names) + 1.2)
    figure, axes = cast("tuple[Any, Any]", pyplot.subplots(figsize=size))  # its keywords have no types
    left = [0] * len(names)
    for label, mark, colour in (
        ("agrees", "✓", "#3a8f5c"),
        ("differs", "✗", "#d98c3f"),
        ("failed", "!", "#9a9a9a"),
    ):
        counts = [sum(_mark(line) == mark for line in lines[name]) for name in names]
        axes.barh(names, counts, left=left, label=label, color=colour)
        left = [one + two for one, two in zip(left, counts, strict=True)]
    axes.set_xlabel("reviews")
    axes.set_title("Licence found by the agent and licence declared")
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.15), ncols=3, frameon=False)
    figure.savefig(file, bbox_inches="tight")
    pyplot.close(figure)
