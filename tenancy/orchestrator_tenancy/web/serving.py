"""The tenants' web server as a process; checked against dagster-webserver 1.13.27, whose command line names its own."""

import contextlib
import logging
import sys
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any, Final

import uvicorn
from dagster import DagsterInstance
from dagster import __version__ as dagster_version
from dagster._core.workspace.load_target import WorkspaceFileTarget
from starlette.types import ASGIApp

from orchestrator_gateway.tenant_keys import KeyFile
from orchestrator_gateway.tls_files import ServerCertificate
from orchestrator_tenancy.checked_locations import CheckedLocations, bound_messages
from orchestrator_tenancy.queue.seam_coordinator import FairRunCoordinator
from orchestrator_tenancy.tenants import TenantDirectory
from orchestrator_tenancy.web.contexts import TenantProcessContext
from orchestrator_tenancy.web.servers import TenantWebserver

SignIn = Callable[[ASGIApp], ASGIApp]
"""From an application to one that leaves who asks in its scope (`identities.SCOPE_KEY`), and nobody else does."""

_STATEMENT_MILLISECONDS: Final = 15_000
_RECYCLE_SECONDS: Final = 3_600
_FURTHER_CONNECTIONS: Final = 20


@contextlib.contextmanager
def tenant_app(
    instance: DagsterInstance,
    directory: TenantDirectory,
    workspace: Sequence[Path],
    *,
    prefix: str = "",
    origins: Sequence[str] = (),
    keys: KeyFile | None = None,
) -> Generator[ASGIApp]:
    """Load all locations and give the application, behind which nobody is who did not sign in.

    Args:
        instance: Of all tenants.
        directory: Whose locations are whose.
        workspace: Dagster's workspace files; of gRPC servers, each of a tenant.
        prefix: Of all paths; empty, or begins with a slash.
        origins: Origins whose pages may ask, besides that of the request's own host: those of a proxy in front.
        keys: See `TenantWebserver`.

    Raises:
        LocationRefused: The workspace has a location that this process would have to start itself.
    """
    instance.optimize_for_webserver(_STATEMENT_MILLISECONDS, _RECYCLE_SECONDS, _FURTHER_CONNECTIONS)
    bound_messages()
    if isinstance(instance.run_coordinator, FairRunCoordinator):
        instance.run_coordinator.use(directory)
    stock = WorkspaceFileTarget(paths=[str(path) for path in workspace])
    target = CheckedLocations(stock, directory, instance)
    with TenantProcessContext(
        instance, directory, workspace_load_target=target, version=dagster_version
    ) as process:
        server: Any = TenantWebserver(process, prefix, origins, keys)
        yield server.create_asgi_app()


def serve(
    directory: TenantDirectory,
    workspace: Sequence[Path],
    sign_in: SignIn,
    *,
    host: str,
    port: int,
    prefix: str = "",
    origins: Sequence[str] = (),
    keys: KeyFile | None = None,
    certificate: ServerCertificate | None = None,
) -> None:
    """Serve until a signal ends it, over the instance of `DAGSTER_HOME`; without a certificate it speaks no TLS."""
    with (
        DagsterInstance.get() as instance,
        tenant_app(instance, directory, workspace, prefix=prefix, origins=origins, keys=keys) as app,
    ):
        logging.getLogger(__name__).info("serving %d tenants", len(directory.tenancy().tenants))
        config = uvicorn.Config(sign_in(app), host=host, port=port, log_level="warning")
        config.load()
        config.ssl = None if certificate is None else certificate.context
        server = uvicorn.Server(config)
        with contextlib.suppress(KeyboardInterrupt):
            server.run()
        if not server.started:
            sys.exit(1)
