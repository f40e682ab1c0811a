"""The web server of two tenants as people reach it: behind the real sign-in, with everything planted of each."""

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.integration.openid_providers import openid_provider
from tests.integration.sign_in_sites import Site
from tests.integration.tenant_plants import Plants, planted_tenants
from tests.integration.tenant_web import TENANTS, Web


@dataclass(frozen=True, kw_only=True)
class TenantSite:
    """A site, and what there is.

    Attributes:
        url: Of the site.
        issuer: Of the provider, at which people sign in.
        web: What is behind the sign-in.
        mine: Of alpha, whose editor Bob is.
        others: Of beta, whom Bob does not know.
    """

    url: str
    issuer: str
    web: Web
    mine: Plants
    others: Plants


@contextlib.contextmanager
def tenant_site(folder: Path, database: str) -> Generator[TenantSite]:
    """Serve it until the end.

    Args:
        folder: Gets all files.
        database: URL of an empty PostgreSQL database.
    """
    with planted_tenants(folder, database) as (web, mine, others):
        members = {"bob@acme.example": {"role": "editor"}}
        web.directory.change(alpha={**TENANTS["tenants"]["alpha"], "members": members})
        served: Any = web.server
        site = Site(folder, str(folder / "sign-in.db"), served.create_asgi_app(), web.directory)
        with openid_provider(site.redirect_uri, f"{site.url}/sign-in") as provider:
            site.configure(provider.issuer)
            with site.served():
                yield TenantSite(url=site.url, issuer=provider.issuer, web=web, mine=mine, others=others)
