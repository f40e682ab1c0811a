"""The processes of the test cluster that runs, by the names of its components."""

from pathlib import Path

from orchestrator_tools.cluster.places import Places, places


def command_lines(word: str) -> dict[int, str]:
    """Return the command lines of processes of this machine that hold a word."""
    found: dict[int, str] = {}
    for folder in Path("/proc").iterdir():
        try:
            line = (folder / "cmdline").read_text().replace("\0", " ") if folder.name.isdigit() else ""
        except OSError:
            continue  # it has ended
        if word in line:
            found[int(folder.name)] = line
    return found


def component(name: str, of: Places | None = None) -> int:
    """Return the process id of a component of a cluster, or of the one that tests run on."""
    state = (of or places()).state.resolve()
    (found,) = (pid for pid, line in command_lines(str(state)).items() if f" {name} " in line)
    return found
