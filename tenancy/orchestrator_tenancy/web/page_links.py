"""The way from Dagster's pages to who one is, another tenant, and out: one link beside the application of the page."""

from html import escape
from typing import Final

from orchestrator_tenancy.identities import Identity

_END: Final = "</body>"
_STYLE: Final = (
    "position:fixed;right:8px;bottom:4px;z-index:20;padding:2px 8px;border-radius:6px;font:12px system-ui,sans-serif;"
    "background:#2b303b;color:#fff;text-decoration:none;opacity:.85"
)


def with_link(page: str, identity: Identity, prefix: str) -> str:
    """Return a page of Dagster with a link to the sign-in's page of who asks; one that does not end as pages do stays.

    Args:
        page: HTML.
        identity: Who asks; the link says their name and tenant.
        prefix: Of all paths.
    """
    before, end, after = page.rpartition(_END)
    who = identity.name if identity.tenant is None else f"{identity.name} · {identity.tenant}"
    link = (
        f'<a href="{escape(prefix)}/sign-in/tenant" style="{_STYLE}" title="Another tenant, or sign out">'
        f"{escape(who)}</a>"
    )
    return f"{before}{link}{end}{after}" if end else page
