"""Values of what serves all tenants beside the gateway: Dagster's daemon and web server, runs, the database."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from orchestrator_cluster.bindings import Name, Quantity, Resources
from orchestrator_tools.chart.documented import ChartValues
from orchestrator_tools.chart.pod_values import ObjectName, Peer, Pods, Port, Replicas, SecretKey

Seconds = Annotated[int, Field(gt=0)]


class Daemon(Pods):
    """Dagster's daemon: it starts runs, and asks sensors and schedules. There is one of it.

    Attributes:
        watch: What the container beside it gets that ends runs whose pods are lost.
    """

    watch: Resources = Resources(cpu="50m", memory="256Mi")


class WebServer(Pods):
    """Dagster's web server. Without a control plane, whoever can call it may do everything: it knows no users then.

    Attributes:
        replicas: How many there are.
        path_prefix: What the paths of its pages begin with, such as `/dagster`.
        read_only: Whether nothing can be started or changed there.
        callers: Who may call it, beside nobody; `kubectl port-forward` is always possible.
    """

    replicas: Replicas = 1
    path_prefix: Annotated[str, Field(pattern=r"^(/[-._~a-zA-Z0-9]+)*$")] = ""
    read_only: bool = False
    callers: Sequence[Peer] = ()


class DagsterClass(ChartValues):
    """A class of Dagster's instance.

    Attributes:
        module: That it is imported from.
        name: Of the class.
        config: What it is told.
    """

    module: str
    name: Annotated[str, Field(alias="class")]
    config: Mapping[str, Any] = {}


class Runs(ChartValues):
    """How runs are started and watched, those of all tenants together.

    Attributes:
        max_concurrent: Most runs at once; further ones are queued.
        max_concurrent_per_location: Most runs of one code location at once; null sets no limit of its own.
        start_seconds: How long a run may take to start, image and all, until it counts as failed.
        cancel_seconds: How long a run may take to end that is told to.
        max_seconds: How long a run may take; null sets no limit.
        poll_seconds: How often runs are looked after.
        max_retries: How often a run is tried again that failed; what was finished is not repeated.
        keep_seconds: How long the pod of a finished run stays.
        environment: Variables of runs and code servers, by name; no secrets.
        environment_secrets: Secrets in the namespace of each tenant whose entries are variables, too.
        compute_logs: Where the output of steps is kept; null leaves it to the pods' logs.
    """

    max_concurrent: Annotated[int, Field(ge=1)] = 25
    max_concurrent_per_location: Annotated[int, Field(ge=1)] | None = None
    start_seconds: Seconds = 600
    cancel_seconds: Seconds = 180
    max_seconds: Seconds | None = None
    poll_seconds: Seconds = 10
    max_retries: Annotated[int, Field(ge=0)] = 0
    keep_seconds: Seconds = 86_400
    environment: Mapping[str, str] = {}
    environment_secrets: Sequence[ObjectName] = ()
    compute_logs: DagsterClass | None = None


class OwnPostgresql(Pods):
    """A PostgreSQL of one pod, for trying things out: no copies, no backups.

    Attributes:
        image: One that follows the variables of the official image (`POSTGRES_USER`, `POSTGRES_PASSWORD`,
            `POSTGRES_DB`, `PGDATA`); which one is the operator's choice.
        command: Of its container; empty means the image's own. With `tls` it gets the words that the official image
            takes, too: `postgres -c NAME=VALUE ...`.
        user_id: User that the image runs as.
        ephemeral: Whether the data goes with the pod, instead of to a volume.
        storage: Size of its volume.
        storage_class: Of its volume; null means the cluster's default.
    """

    command: Sequence[str] = ()
    user_id: Annotated[int, Field(gt=0)] = 999
    ephemeral: bool = False
    storage: Quantity = "10Gi"
    storage_class: Name | None = None


class Postgresql(ChartValues):
    """The database: of Dagster, and, where nothing else is said, of the gateway's journal and the state of runs.

    Attributes:
        host: Of an external server; null where the chart brings its own.
        port: Of the server.
        database: Name of the database.
        user: Who signs in.
        password_secret: Its password. The same Secret is needed in the namespace of each tenant.
        ssl_mode: As libpq has it; null means `require` of an external server and `disable` of the chart's own, and with
            `tls` `verify-full` of both.
        journal_url_secret: Address of another database for the gateway's journal (`postgresql://user:password@host/name`);
            tenants that do not trust each other need it, since their runs know the password of this one.
        state_url_secret: Address of another database for the state of runs, in the namespace of each tenant.
        peers: Who the server is, for NetworkPolicies; empty means anybody at its port.
        own: What the chart brings where there is no external server.
    """

    host: Annotated[str, Field(min_length=1)] | None = None
    port: Port = 5_432
    database: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "orchestrator"
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")] = "orchestrator"
    password_secret: SecretKey
    ssl_mode: Literal["disable", "allow", "prefer", "require", "verify-ca", "verify-full"] | None = None
    journal_url_secret: SecretKey | None = None
    state_url_secret: SecretKey | None = None
    peers: Sequence[Peer] = ()
    own: OwnPostgresql | None = None
