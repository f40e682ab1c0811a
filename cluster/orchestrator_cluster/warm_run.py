"""The command of a warm pod's container: `python -m orchestrator_cluster.warm_run SPEC`; see `warm_process.py`.

It imports nothing by itself: the first module of a process is loaded once more in each of its steps.
"""

import sys

if __name__ == "__main__":
    from orchestrator_cluster.warm_process import main

    sys.exit(main())
