"""The command line `orchestrator`."""

import errno
from importlib.metadata import version
from typing import Any

import click

from orchestrator_defs.approvals_commands import approvals
from orchestrator_defs.bundle_commands import bundle
from orchestrator_defs.compat_command import compat
from orchestrator_defs.conformance_commands import conformance
from orchestrator_defs.deploy_command import deploy
from orchestrator_defs.doctor_command import doctor
from orchestrator_defs.gateway_command import gateway
from orchestrator_defs.images_commands import images
from orchestrator_defs.lineage_command import lineage
from orchestrator_defs.marketplace_commands import marketplace
from orchestrator_defs.publish_command import publish
from orchestrator_defs.queue_commands import daemon, queue
from orchestrator_defs.runtimes_commands import compare, install, list_runtimes, remove
from orchestrator_defs.sign_in_commands import audit, sessions, sign_in, tokens
from orchestrator_defs.spend_command import spend
from orchestrator_defs.tenant_keys_commands import delete_tenant, tenant_keys
from orchestrator_defs.tenants_commands import tenants
from orchestrator_defs.unseal_command import unseal
from orchestrator_defs.usage_commands import usage
from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy.web.command import web


class _Commands(click.Group):
    """A group whose commands fail with the words of an error instead of a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except AgentError as error:
            cause = f"\n  {error.cause}" if error.cause else ""
            raise click.ClickException(f"{error.message}{cause}") from error
        except OSError as error:
            if error.errno == errno.EPIPE:
                raise  # whoever read the output has read enough; click ends quietly
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(version("agent-orchestrator"), prog_name="orchestrator")
def main() -> None:
    """Agents of any framework as Dagster assets: their runtimes, proof of what each can do, what they ask people."""


@main.group(cls=_Commands)
def runtimes() -> None:
    """Environments of frameworks: list, install, compare, doctor, remove.

    A runtime is one framework and nothing else, installed from a hashed lock into a folder that is named by the lock's
    digest, below ORCHESTRATOR_HOME. A runtime profile (a TOML file beside the agents) adds requirements to a framework.
    """


runtimes.add_command(list_runtimes, "list")
runtimes.add_command(install)
runtimes.add_command(compare)
runtimes.add_command(doctor)
runtimes.add_command(remove)
main.add_command(approvals)
main.add_command(bundle)
main.add_command(conformance)
main.add_command(compat)
main.add_command(daemon)
main.add_command(deploy)
main.add_command(gateway)
main.add_command(images)
main.add_command(lineage)
main.add_command(marketplace)
main.add_command(publish)
main.add_command(queue)
main.add_command(spend)
main.add_command(sign_in)
main.add_command(tokens)
main.add_command(sessions)
main.add_command(audit)
tenants.add_command(tenant_keys)
tenants.add_command(delete_tenant)
main.add_command(tenants)
main.add_command(unseal)
main.add_command(usage)
main.add_command(web)
