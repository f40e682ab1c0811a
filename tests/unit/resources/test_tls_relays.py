"""What a relay between TLS and plain bytes does with both sides."""

from pathlib import Path

from tests.alone import passes_alone


def test_bytes_go_both_ways_whatever_happens_and_no_descriptor_is_kept() -> None:
    passes_alone(Path(__file__).with_name("tls_relays_trials.py"))
