"""Run the suite against a framework: `python -m orchestrator_runtimes.conformance --framework NAME`.

The last line counts: `N passed, N failed`. Further options are pytest's, and the plug-in's `--guest-python`.
"""

import sys

import pytest


class _Count:
    def __init__(self) -> None:
        self.passed = self.failed = 0

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count each test once."""
        if report.failed:
            self.failed += 1
        elif report.when == "call" and report.passed:
            self.passed += 1


def main() -> int:
    """Run pytest with the plug-in and return its exit status."""
    count = _Count()
    arguments = [
        "-p",
        "orchestrator_runtimes.conformance.plugin",
        "--pyargs",
        "orchestrator_runtimes.conformance",
    ]
    status = pytest.main([*arguments, "-q", *sys.argv[1:]], plugins=[count])
    print(f"{count.passed} passed, {count.failed} failed")
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
