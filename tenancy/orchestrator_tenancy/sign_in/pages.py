"""Pages of the sign-in: plain HTML without scripts, which say what happened and what to do."""

import math
from collections.abc import Mapping
from html import escape
from typing import Final

from starlette.responses import Response

from orchestrator_tenancy.identities import Role

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    # `no-referrer` would have browsers hide the origin of forms, too
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}

STYLE: Final = """\
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { margin: 12vh auto; max-width: 26rem; padding: 0 1.5rem }
h1 { font-size: 1.3rem }
button, .button { font: inherit; padding: .5rem 1rem; border: 1px solid; border-radius: .4rem; background: none;
  color: inherit; cursor: pointer; text-decoration: none; display: inline-block }
.choices button { display: block; width: 100%; text-align: left; margin: .5rem 0 }
.quiet { opacity: .75; font-size: .9rem }
"""


def page(title: str, body: str, *, prefix: str, status: int = 200, wait: float | None = None) -> Response:
    """Return a page.

    Args:
        title: Text.
        body: HTML, in which all that came from elsewhere is escaped.
        prefix: Path that the platform is below.
        status: Of the answer.
        wait: After how many seconds to try again; None says nothing.
    """
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f'<title>{escape(title)}</title><link rel="stylesheet" href="{escape(prefix)}/sign-in/style.css"></head>'
        f"<body><main><h1>{escape(title)}</h1>{body}</main></body></html>"
    )
    waiting = {} if wait is None else {"Retry-After": str(max(1, math.ceil(wait)))}
    return Response(html, status, {**HEADERS, **waiting}, "text/html; charset=utf-8")


def sign_in_page(start: str, *, prefix: str) -> Response:
    """Return the page with the way in, which is at `start`."""
    return page("Agent orchestrator", _button(start, "Sign in"), prefix=prefix)


def signed_out_page(start: str, elsewhere: str | None, *, prefix: str) -> Response:
    """Return the page of who signed out.

    Args:
        start: Where the way in is.
        elsewhere: Where to sign out of the provider; None where it has no such place.
        prefix: Path that the platform is below.
    """
    more = "" if elsewhere is None else _button(elsewhere, "Sign out of the provider, too")
    return page("You are signed out", more + _button(start, "Sign in again"), prefix=prefix)


def failure_page(
    title: str, why: str, *, again: str, prefix: str, status: int, wait: float | None = None
) -> Response:
    """Return a page that says why somebody is not let in; see `page`.

    Args:
        title: What happened.
        why: Text, in a sentence.
        again: Where to try again.
        prefix: Path that the platform is below.
        status: Of the answer.
        wait: See `page`.
    """
    return page(
        title, f"<p>{escape(why)}</p>{_button(again, 'Try again')}", prefix=prefix, status=status, wait=wait
    )


def tenants_page(
    name: str, choices: Mapping[str, Role], *, now: str | None, back: str, prefix: str, everything: bool
) -> Response:
    """Return the page where somebody chooses a tenant, or signs out.

    Args:
        name: What people call them.
        choices: The tenants, with what they may do there.
        now: The tenant that they are of; None when they are of none.
        back: Where they go then.
        prefix: Path that the platform is below.
        everything: Whether they may see all tenants at once.
    """
    buttons = [_choice(tenant, f"{tenant} ({role.value})", tenant == now) for tenant, role in choices.items()]
    if everything:
        buttons.insert(0, _choice("", "all tenants (operator)", now is None))
    target = escape(prefix)
    body = (
        f'<p>You are {escape(name)}.</p><form class="choices" method="post" action="{target}/sign-in/tenant">'
        f'<input type="hidden" name="next" value="{escape(back)}">{"".join(buttons)}</form>'
        f'<form method="post" action="{target}/sign-in/out"><button>Sign out</button></form>'
    )
    return page("Choose a tenant", body, prefix=prefix)


def _button(url: str, text: str) -> str:
    return f'<p><a class="button" href="{escape(url)}">{escape(text)}</a></p>'


def _choice(value: str, text: str, present: bool) -> str:
    mark = " · now" if present else ""
    return f'<button name="tenant" value="{escape(value)}">{escape(text)}{mark}</button>'
