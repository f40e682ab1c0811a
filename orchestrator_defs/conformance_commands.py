"""`orchestrator conformance`: what each runtime here is proved to do."""

import contextlib
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final
from xml.etree import ElementTree

import click

from orchestrator_defs.conformance_matrix import MatrixRow, as_page, as_text, read_matrix
from orchestrator_resources.environments import EnvironmentStore
from orchestrator_resources.homes import home_folder
from orchestrator_resources.runtimes import framework
from orchestrator_runtimes.conformance.fake import PROFILE as FAKE
from orchestrator_runtimes.profiles import FrameworkProfile, installed_frameworks

SUITE_SECONDS: Final = 1_800.0
"""A suite that takes longer is hanging: the slowest takes about two minutes on two cores."""


@dataclass(frozen=True, kw_only=True)
class SuiteRun:
    """The suite against one runtime.

    Attributes:
        passed: Tests.
        failed: Tests; a suite that did not come to its end counts as one.
        row: Its line of the matrix; None when there is none.
    """

    passed: int
    failed: int
    row: MatrixRow | None


@click.command(context_settings={"ignore_unknown_options": True})
@click.option(
    "--framework", "names", multiple=True, help="One framework, again for more; default: every installed one."
)
@click.option(
    "--matrix", type=click.Path(dir_okay=False, path_type=Path), help="Gets a line of JSON for each runtime."
)
@click.option("--page", type=click.Path(dir_okay=False, path_type=Path), help="Gets the matrix as Markdown.")
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Runtimes at once; with several, what each says is shown when it is done.",
)
@click.argument("pytest_arguments", nargs=-1)
def conformance(
    names: tuple[str, ...],
    matrix: Path | None,
    page: Path | None,
    jobs: int,
    pytest_arguments: tuple[str, ...],
) -> None:
    """Run the conformance suite against installed runtimes and print the matrix.

    Without --framework it also runs against the fake that ships with the contract. Further arguments are pytest's, such
    as `-k cancel`. The last line counts; the exit status is 1 when a test failed or a declared capability is unproved.
    """
    profiles = [framework(name) for name in names] if names else [FAKE, *installed_frameworks().values()]
    pythons = _pythons(profiles)

    def run(profile: FrameworkProfile) -> SuiteRun:
        return run_suite(profile, pythons[profile.name], pytest_arguments, shown=jobs == 1)

    with ThreadPoolExecutor(jobs) as pool:
        runs = list(pool.map(run, profiles))
    rows = [run.row for run in runs if run.row is not None]
    if matrix is not None:
        matrix.parent.mkdir(parents=True, exist_ok=True)
        matrix.write_text("".join(f"{row.to_json()}\n" for row in rows))
    if page is not None:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(as_page(rows, "make conformance"))
    finish(runs, complete=not pytest_arguments)


def _pythons(profiles: Sequence[FrameworkProfile]) -> dict[str, Path]:
    """Return the interpreter of each profile's environment; the fake needs none of its own."""
    store = EnvironmentStore(home_folder())
    found = {p.name: Path(sys.executable) for p in profiles if p is FAKE}
    found |= {p.name: e.python for p in profiles if p is not FAKE and (e := store.find(p.lock())) is not None}
    if missing := [p.name for p in profiles if p.name not in found]:
        commands = " && ".join(f"orchestrator runtimes install {name}" for name in missing)
        raise click.ClickException(f"not installed: {', '.join(missing)}; run `{commands}`")
    return found


def run_suite(
    profile: FrameworkProfile, python: Path, pytest_arguments: Sequence[str] = (), *, shown: bool = True
) -> SuiteRun:
    """Run the suite in a process of its own, and return what it found.

    Args:
        profile: Of the runtime.
        python: Of its environment.
        pytest_arguments: Further ones.
        shown: Whether its output is shown as it comes, else when it is done.
    """
    if find_spec("pytest") is None:
        raise click.ClickException("the suite needs pytest: install agent-orchestrator[conformance]")
    title = f"\n{profile.title}: {python}"
    if shown:
        click.echo(title, color=False)
    with tempfile.TemporaryDirectory(prefix="conformance-") as folder:
        results, matrix = Path(folder, "results.xml"), Path(folder, "matrix.jsonl")
        words = [sys.executable, "-m", "orchestrator_runtimes.conformance", f"--framework={profile.name}"]
        words += [
            f"--guest-python={python}",
            f"--junitxml={results}",
            f"--matrix={matrix}",
            *pytest_arguments,
        ]
        said = Path(folder, "said")
        with contextlib.nullcontext() if shown else said.open("wb") as output:
            try:
                status = subprocess.run(
                    words,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=SUITE_SECONDS,
                    check=False,
                ).returncode
            except subprocess.TimeoutExpired:
                click.echo(f"{profile.name}: the suite took longer than {SUITE_SECONDS:.0f} s")
                status = 124
        if not shown:
            click.echo(f"{title}\n{said.read_text(errors='replace')}", color=False)
        passed, failed = count_results(results)
        row = next(iter(read_matrix(matrix)), None)
    return SuiteRun(passed=passed, failed=max(failed, 1) if status else failed, row=row)


def count_results(file: Path) -> tuple[int, int]:
    """Return how many tests passed and failed by a JUnit file of pytest; none when there is no file."""
    if not file.exists():
        return 0, 0
    suites = ElementTree.parse(file).iter("testsuite")  # written by the pytest that was just run
    passed = failed = 0
    for suite in suites:
        bad = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        failed += bad
        passed += int(suite.get("tests", 0)) - bad - int(suite.get("skipped", 0))
    return passed, failed


def finish(runs: Sequence[SuiteRun], *, complete: bool) -> None:
    """Print the matrix and the counts, and leave with the status.

    Args:
        runs: One for each runtime.
        complete: Whether every test was asked for, so that a capability without proof is a failure.
    """
    rows = [run.row for run in runs if run.row is not None]
    unproved = [
        f"{row.framework} declares {capability.value}, and no test proved it"
        for row in rows
        for capability, proof in row.proofs.items()
        if complete and not proof.holds and not proof.failed
    ]
    failed = sum(run.failed for run in runs) + len(unproved)
    click.echo(f"\n{as_text(rows)}")
    for line in unproved:
        click.echo(line)
    click.echo(f"{sum(run.passed for run in runs)} passed, {failed} failed")
    sys.exit(1 if failed else 0)
