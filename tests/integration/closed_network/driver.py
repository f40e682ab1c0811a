"""Runs inside a network namespace: a guest of one framework, and the scripted model beside it on the loopback.

`python driver.py FRAMEWORK PYTHON AUDIT_FOLDER NOTES` prints one line of JSON: what each agent answered.
"""

import fcntl
import json
import socket
import struct
import sys
from pathlib import Path
from typing import Any

from orchestrator_runtimes import bundles
from orchestrator_runtimes.client import Bundle
from orchestrator_runtimes.conformance.fake import PROFILE as FAKE
from orchestrator_runtimes.conformance.model_endpoint import run_in_thread
from orchestrator_runtimes.conformance.scripts import Script
from orchestrator_runtimes.conformance.target import MARKER, Outcome, Target, native_cases
from orchestrator_runtimes.guest_commands import GuestCommand
from orchestrator_runtimes.messages import ToolSource
from orchestrator_runtimes.profiles import installed_frameworks

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


def raise_loopback() -> None:
    """Bring `lo` up; a new namespace begins with it down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


def told(outcome: Outcome) -> str:
    """Return the output, or the error's words."""
    return str(outcome.error) if outcome.result is None else str(outcome.result.output)


def main(framework: str, python: str, audit: str, notes: str) -> dict[str, object]:
    """Run every case and return what it told."""
    raise_loopback()
    profile = FAKE if framework == FAKE.name else installed_frameworks()[framework]
    watched = {"PYTHONPATH": f"packages:{audit}", "CLOSED_NETWORK_NOTES": notes}
    command = GuestCommand.of(profile, Path(python), environment=watched)
    answers: dict[str, str] = {}
    with run_in_thread() as endpoint:
        target = Target(command, profile, endpoint)
        try:
            for stream in (False, True):
                answers[f"portable, stream {stream}"] = told(
                    target.run(target.portable("weather"), stream=stream)
                )
            for case in native_cases(profile):
                if case.error is None:
                    script = Script(**{"echo": MARKER, **case.script})  # type: ignore[arg-type]  # from a file
                    native = target.native(case)
                    run: dict[str, Any] = {"bundle": "native", "inputs": case.inputs, "session": case.name}
                    answers[case.name] = told(target.run(native, script, **run))
                    if case.decision is not None:
                        decided: dict[str, Any] = {"resume": True, "decision": case.decision}
                        answers[f"{case.name}, decided"] = told(target.run(native, script, **run, **decided))
            if framework == FAKE.name:
                digest, archive = bundles.pack(Path(__file__).parent / "misdeeds")
                target.bundles["misdeeds"] = Bundle(digest=digest, archive=archive)
                tools = (ToolSource(function="misdeeds:reach_out"),)
                answers["misdeeds"] = told(target.run(target.portable(tools=tools), bundle="misdeeds"))
        finally:
            target.close()
    interfaces = [name for _, name in socket.if_nameindex()]
    return {"answers": answers, "interfaces": interfaces}


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
