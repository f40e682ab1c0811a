"""What a guest server may do to the trusted side."""

from pathlib import Path

from tests.alone import passes_alone


def test_whatever_a_guest_server_does_is_told_and_nothing_is_kept() -> None:
    passes_alone(Path(__file__).with_name("served_guardian_trials.py"))
