"""Code locations of three tenants, as files; that of beta lies about whose its things are."""

from pathlib import Path
from typing import Final

SECRETS: Final = {"alpha": "canary-3f9a1c", "beta": "canary-b7e204", "delta": "canary-50d1c6"}
"""Stands in everything that is a tenant's; nobody else ever says it."""

LOCATIONS: Final = {"alpha": "alpha-orders", "beta": "beta-orders", "delta": "delta-orders"}

_LOCATION: Final = '''
import os

import dagster as dg

os.environ["{variable}"] = "{secret}"
SECRET = "{secret}"
people = dg.DynamicPartitionsDefinition(name="{prefix}people")
letters = dg.StaticPartitionsDefinition(["a", "b", SECRET])


class Shop(dg.ConfigurableResource):
    """A shop. {secret}"""

    url: str = SECRET
    token: str = dg.EnvVar("{variable}")


@dg.asset(
    key=["{tenant}", "orders"],
    description=SECRET,
    metadata={{"secret": SECRET}},
    tags={{"secret": SECRET}},
    owners=["team:" + SECRET],
    group_name="{prefix}group",
    pool="{prefix}pool",
    automation_condition=dg.AutomationCondition.eager(),
    check_specs=[dg.AssetCheckSpec(name="{prefix}check", asset=["{tenant}", "orders"], description=SECRET)],
)
def orders(context: dg.AssetExecutionContext, shop: Shop):
    yield dg.MaterializeResult()


@dg.asset(key=["{tenant}", "letters"], partitions_def=letters, description=SECRET)
def of_letters(): ...


@dg.asset(key=["{tenant}", "people"], partitions_def=people, description=SECRET)
def of_people(): ...


@dg.op(description=SECRET, tags={{"secret": SECRET}})
def work(): ...


@dg.graph(description=SECRET)
def inner():
    work()


@dg.job(name="{prefix}job", description=SECRET, tags={{"secret": SECRET}}, partitions_def=letters)
def job():
    inner()


@dg.schedule(name="{prefix}schedule", job=job, cron_schedule="0 3 * * *", description=SECRET, tags={{"secret": SECRET}})
def schedule(): ...


@dg.sensor(name="{prefix}sensor", job=job, description=SECRET, tags={{"secret": SECRET}})
def sensor(): ...


defs = dg.Definitions(
    assets=[orders, of_letters, of_people{lies}],
    jobs=[job],
    schedules=[schedule],
    sensors=[sensor],
    resources={{"shop": Shop()}},
)
'''

_LIES: Final = """
stolen = dg.DynamicPartitionsDefinition(name="{other}__people")


@dg.asset(key=["{other}", "orders"], pool="{other}__pool")
def not_mine(): ...


@dg.asset(key=["{other}", "people"], partitions_def=stolen)
def nor_these(): ...


@dg.asset(key=["{tenant}", "stolen"], partitions_def=stolen)
def with_stolen_partitions(): ...


@dg.asset(key=["{tenant}", "follower"], deps=[["{other}", "letters"]])
def follower(): ...
"""

_STOLEN: Final = ", not_mine, nor_these, with_stolen_partitions, follower"


def write_location(folder: Path, tenant: str, lies_about: str | None = None) -> Path:
    """Write a tenant's code location; one that lies declares things of another tenant as its own."""
    text = _LOCATION.format(
        tenant=tenant,
        prefix=f"{tenant}__",
        secret=SECRETS[tenant],
        variable=f"{tenant.upper()}_TOKEN",
        lies=_STOLEN if lies_about else "",
    )
    if lies_about:
        lies = _LIES.format(tenant=tenant, other=lies_about)
        text = text.replace("\ndefs =", f"{lies}\ndefs =")
    path = folder / f"{tenant}_location.py"
    path.write_text(text)
    return path
