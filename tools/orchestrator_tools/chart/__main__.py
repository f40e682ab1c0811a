"""Writes the files of the chart that are generated; with `--check` says which of them are not as they would be."""

import argparse
import sys

from orchestrator_tools.chart.documented import NotDescribed
from orchestrator_tools.chart.files import generated
from orchestrator_tools.steps import CHECKOUT, say


def main() -> int:
    """Run the command line and return its exit status."""
    parser = argparse.ArgumentParser(prog="orchestrator_tools.chart", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    try:
        files = generated()
    except NotDescribed as error:
        say(str(error))
        return 1
    other = {path: text for path, text in files.items() if not path.exists() or path.read_text() != text}
    for path, text in other.items():
        name = path.relative_to(CHECKOUT)
        if check:
            say(f"{name} is not what its models say: run `make format`")
        else:
            path.write_text(text)
            say(f"wrote {name}")
    return 1 if check and other else 0


if __name__ == "__main__":
    sys.exit(main())
