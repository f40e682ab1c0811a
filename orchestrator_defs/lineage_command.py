"""`orchestrator lineage`: from an output back to the publish, and from a bundle to all that it touched."""

import json
import os

import click

from orchestrator_runtimes.errors import AgentError, ErrorCode


@click.command()
@click.argument("asset", required=False)
@click.option("--run", help="Id of the run, or how it begins; without it the newest output.")
@click.option("--bundle", help="PUBLISHER/AGENT, or PUBLISHER/AGENT:VERSION: list what it touched.")
@click.option("--mermaid", "drawn", is_flag=True, help="Draw it: a flowchart in Mermaid's words.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def lineage(asset: str | None, run: str | None, bundle: str | None, *, drawn: bool, as_json: bool) -> None:
    """Say where an output of ASSET comes from, or what a bundle touched.

    The instance is that of DAGSTER_HOME. What a bundle touched is what it made, and all that was made of that.
    """
    import dagster as dg

    from orchestrator_sensors import drawn_lineages, lineages

    if (asset is None) == (bundle is None):
        raise click.UsageError("name an asset, or a bundle with --bundle")
    if not os.environ.get("DAGSTER_HOME"):
        raise AgentError(ErrorCode.INVALID_INPUT, "set DAGSTER_HOME to the folder of the instance")
    with dg.DagsterInstance.get() as instance:
        if bundle is not None:
            name, _, version = bundle.partition(":")
            found = lineages.touched(instance, name, version or None)
            if as_json:
                click.echo(
                    json.dumps([lineages.as_json(lineages.Chain(output=one)) for one in found], indent=2)
                )
            else:
                click.echo("\n".join(map(drawn_lineages.told, found)) or f"{bundle} touched nothing here")
            return
        chain = lineages.chain_of(instance, lineages.newest(instance, asset or "", run))
    if as_json:
        click.echo(json.dumps(lineages.as_json(chain), indent=2))
    else:
        click.echo(drawn_lineages.mermaid(chain) if drawn else drawn_lineages.tree(chain))
