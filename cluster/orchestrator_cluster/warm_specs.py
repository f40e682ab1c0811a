"""What the process of a warm pod is told when its pod is made."""

import json
from dataclasses import asdict, dataclass


@dataclass(frozen=True, kw_only=True)
class WarmSpec:
    """What it is, and which runs it may begin.

    Attributes:
        namespace: Where its pod is.
        job: Name of the job that made the pod.
        location: Code location of its run.
        repository: Where that one's definitions are: Dagster's `RepositoryPythonOrigin`, serialized.
        instance: Dagster's `InstanceRef` of the instance, serialized.
        seconds: How old it may become before a run has it.
        fail_pod: Whether the pod of a run that failed fails, too.
    """

    namespace: str
    job: str
    location: str
    repository: str
    instance: str
    seconds: int
    fail_pod: bool = False

    def command(self) -> list[str]:
        """Return what the pod's container runs."""
        return ["python", "-m", "orchestrator_cluster.warm_run", json.dumps(asdict(self))]

    @classmethod
    def parse(cls, text: str) -> "WarmSpec":
        """Return what was told.

        Raises:
            TypeError, ValueError: It is of another version.
        """
        return cls(**json.loads(text))
