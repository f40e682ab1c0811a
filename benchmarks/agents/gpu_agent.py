"""An agent whose tool computes on the GPU, for a time that differs from call to call."""

import importlib
import itertools
import threading
import time
from typing import Any

from orchestrator_runtimes.conformance.fake import FakeAgent

torch: Any = importlib.import_module("torch")  # not among what is checked here

_SIZE = 4_096
_MILLISECONDS = itertools.cycle((2, 5, 10, 20, 40, 80, 160))
_LOCAL = threading.local()


def compute(subject: str) -> str:
    """Multiply matrices about a subject."""
    seconds = next(_MILLISECONDS) / 1_000
    if not hasattr(_LOCAL, "stream"):
        _LOCAL.stream = torch.cuda.Stream()
        _LOCAL.factor = torch.rand(_SIZE, _SIZE, device="cuda", dtype=torch.bfloat16) / _SIZE
    with torch.cuda.stream(_LOCAL.stream):
        product = _LOCAL.factor
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for _ in range(8):
                product = product @ _LOCAL.factor
            _LOCAL.stream.synchronize()
    return f"{subject}: {float(product.sum()):.3g}"


def build() -> FakeAgent:
    """Return the agent."""
    return FakeAgent(instructions="Compute, then repeat what you were asked.", tools=[compute])
