"""`python -m orchestrator_n8n`: become n8n, as a guest."""

import os
import sys
from pathlib import Path

from orchestrator_n8n.start import prepare

if __name__ == "__main__":
    start = prepare(sys.argv[1:], Path(sys.prefix))
    os.execve(start.words[0], start.words, {**os.environ, **start.environment})
