"""`orchestrator marketplace`: the reference marketplace, and what is done at any marketplace of the same interface."""

import contextlib
import json
from collections.abc import Callable, Generator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from orchestrator_defs.bundle_commands import as_json, open_layout
from orchestrator_defs.text_tables import text_table

if TYPE_CHECKING:
    from orchestrator_marketplace.marketplaces import Events, Listing, Marketplace

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_AT = click.option(
    "--at", "url", required=True, envvar="ORCHESTRATOR_MARKETPLACE", show_envvar=True, help="Address of it."
)
_KEY = click.option("--key", "file", required=True, type=_FILE, help="Private key of whoever acts, PEM.")
_REASON = click.option("--reason", help="Why, for whoever reads it.")
_REPLACEMENT = click.option("--replacement", help="PUBLISHER/AGENT to take instead.")


@click.group()
def marketplace() -> None:
    """Serve a marketplace; search, show, follow; submit, approve, reject, deprecate, withdraw; rate; webhooks; keys.

    Whoever acts signs what they do with their key. An action is for the marketplace of the host in its address.
    """


@marketplace.command()
@click.option("--config", "file", required=True, type=_FILE, help="Settings of the marketplace (YAML).")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", default=8940, show_default=True, type=click.IntRange(0, 65_535))
@click.option(
    "--tls-certificate",
    type=click.Path(path_type=Path),
    help="Certificate to show (PEM), read again when it changes; without it, no TLS.",
)
@click.option("--tls-key", type=click.Path(path_type=Path), help="Its key (PEM, not encrypted).")
def serve(file: Path, host: str, port: int, tls_certificate: Path | None, tls_key: Path | None) -> None:
    """Serve the reference marketplace until it is ended; its API describes itself at /openapi.json."""
    import uvicorn

    from orchestrator_gateway.tls_files import BadTlsFile, certificate_of
    from orchestrator_marketplace.marketplace_service import service

    try:
        certificate = certificate_of(tls_certificate, tls_key)
    except BadTlsFile as error:
        raise click.ClickException(str(error)) from error
    config = uvicorn.Config(
        service(file), host=host, port=port, log_level="warning", timeout_graceful_shutdown=5
    )
    config.load()
    config.ssl = None if certificate is None else certificate.context
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        server.run()
    if not server.started:
        raise SystemExit(1)


@marketplace.command()
@click.argument("words", nargs=-1)
@_AT
@click.option("--framework", help="Only agents of it.")
@click.option("--publisher", help="Only agents of it.")
@as_json
def search(
    words: tuple[str, ...], url: str, framework: str | None, publisher: str | None, *, as_json: bool
) -> None:
    """Find public agents whose name, summary or documentation has all WORDS."""
    from orchestrator_marketplace.marketplaces import MOST_AT_ONCE, Query
    from orchestrator_marketplace.pricing import price_told

    query = Query(text=" ".join(words), framework=framework, publisher=publisher, limit=MOST_AT_ONCE)
    with _client(url) as client:
        page = client.search(query)
    if as_json:
        print(json.dumps([_told(one) for one in page.listings]))
    elif not page.listings:
        print("nothing is found")
    else:
        rows = [
            [
                one.name,
                one.version,
                one.state,
                price_told(one.manifest),
                "" if one.rating is None else f"{one.rating.average:.1f} of {one.rating.count}",
                _shown(one.manifest.get("summary")),
            ]
            for one in page.listings
        ]
        print(text_table([["agent", "version", "state", "price", "stars", "summary"], *rows]))
        if page.after is not None:
            print(f"there are more, after {page.after}: say more words")


@marketplace.command()
@click.argument("name")
@click.argument("version", required=False)
@_AT
def show(name: str, version: str | None, url: str) -> None:
    """Show a version of the agent NAME as JSON, by default its highest public one."""
    with _client(url) as client:
        found = client.versions(name)[0] if version is None else client.version(name, version)
    print(json.dumps(_told(found), indent=1))


@marketplace.command()
@_AT
@click.option("--after", default=0, help="Cursor of the last event that is known.")
@click.option("--follow", is_flag=True, help="Go on until it is ended.")
@click.option(
    "--bus",
    envvar="ORCHESTRATOR_MARKETPLACE_BUS",
    show_envvar=True,
    help="URL of the Redis on which the marketplace puts its events, which are read there as long as it has them.",
)
def events(url: str, after: int, bus: str | None, *, follow: bool) -> None:
    """Print what changed, one JSON object a line; each has the cursor to go on after."""
    from orchestrator_marketplace.marketplaces import LONGEST_WAIT_SECONDS
    from orchestrator_runtimes.codec import encode

    with _client(url) as client, _events_of(client, url, bus) as source:
        while True:
            page = source(after, wait_seconds=LONGEST_WAIT_SECONDS if follow else 0.0)
            for event in page.events:
                print(json.dumps(encode(event)), flush=True)
            after = page.cursor
            if not (page.events or follow):
                return


@marketplace.command()
@click.argument("layout", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("registry")
@_AT
@_KEY
def submit(layout: Path, registry: str, url: str, file: Path) -> None:
    """Submit the bundle of LAYOUT, which was pushed to REGISTRY, a host and perhaps a prefix."""
    from orchestrator_marketplace.references import parse_reference

    _opened, entry, bundle = open_layout(layout)
    manifest = bundle.contents.manifest
    reference = parse_reference(f"{registry.rstrip('/')}/{manifest.name}:{manifest.version}").pinned(
        entry.digest
    )
    _act(url, file, "submit", manifest.name, manifest.version, reference=str(reference))


@marketplace.command()
@click.argument("name")
@click.argument("version")
@click.argument("stars", type=click.IntRange(1, 5))
@_AT
@_KEY
@click.option("--platform", required=True, help="Who rates, as it was registered.")
@click.option("--comment", help="What you think of it, for people.")
def rate(
    name: str, version: str, stars: int, url: str, file: Path, platform: str, comment: str | None
) -> None:
    """Say with 1 to 5 STARS what a platform thinks of the agent NAME, of which it ran VERSION; again says it anew."""
    _act(url, file, "rate", name, version, platform=platform, stars=stars, reason=comment)


@marketplace.command()
@click.argument("name")
@_AT
def ratings(name: str, url: str) -> None:
    """Print what platforms think of the agent NAME, one JSON object a line."""
    from orchestrator_runtimes.codec import encode

    after: str | None = None
    with _client(url) as client:
        while True:
            page = client.ratings(name, after=after)
            for rating in page.ratings:
                print(json.dumps(encode(rating)))
            after = page.after
            if after is None:
                return


@marketplace.command()
@click.argument("publisher")
@click.argument("webhook")
@_AT
@_KEY
@click.option("--event", "events", multiple=True, help="Only events of this kind; may be given again.")
@click.option("--about", help="Only events about PUBLISHER or PUBLISHER/AGENT.")
def subscribe(
    publisher: str, webhook: str, url: str, file: Path, events: tuple[str, ...], about: str | None
) -> None:
    """Have events sent to the address WEBHOOK; it prints the secret that verifies them, which is shown once."""
    _subscription(url, file, "subscribe", publisher, url=webhook, events=events or None, about=about)


@marketplace.command()
@click.argument("publisher")
@click.argument("subscription")
@_AT
@_KEY
@click.option("--after", type=int, help="Cursor to go on after; without it, where it is.")
def resume(publisher: str, subscription: str, url: str, file: Path, after: int | None) -> None:
    """Go on with a SUBSCRIPTION that was paused, or anew from an earlier event."""
    _subscription(url, file, "resume", publisher, subscription=subscription, after=after)


@marketplace.command()
@click.argument("publisher")
@click.argument("subscription")
@_AT
@_KEY
def unsubscribe(publisher: str, subscription: str, url: str, file: Path) -> None:
    """End a SUBSCRIPTION."""
    _subscription(url, file, "unsubscribe", publisher, subscription=subscription)


@marketplace.command()
@click.argument("subscription")
@_AT
def subscription(subscription: str, url: str) -> None:
    """Show how a SUBSCRIPTION is, as JSON: whether it is paused, where it is, what went wrong."""
    from orchestrator_runtimes.codec import encode

    with _client(url) as client:
        print(json.dumps(encode(client.subscription(subscription)), indent=1))


def _moves() -> None:
    """Add the commands that move a version; they differ in a word."""
    told = {
        "approve": "Publish the VERSION of NAME that was checked.",
        "reject": "Send the VERSION of NAME that was checked back to its publisher.",
        "deprecate": "Say that VERSION of NAME is still to be had, and not to be begun with.",
        "withdraw": "Say that VERSION of NAME is not to be had any more.",
    }
    for kind, words in told.items():
        marketplace.command(kind, help=words)(_move(kind))


def _move(kind: str) -> Callable[..., None]:
    @click.argument("name")
    @click.argument("version")
    @_AT
    @_KEY
    @_REASON
    @_REPLACEMENT
    def move(
        name: str, version: str, url: str, file: Path, reason: str | None, replacement: str | None
    ) -> None:
        _act(url, file, kind, name, version, reason=reason, replacement=replacement)

    return move


_moves()


def _key_changes() -> None:
    told = {
        "register": "Let PUBLISHER publish, with the key in PUBLIC; operators do.",
        "add-key": "Let the key in PUBLIC sign for PUBLISHER, too.",
        "remove-key": "Let the key in PUBLIC no longer sign for PUBLISHER.",
    }
    for kind, words in told.items():
        marketplace.command(kind, help=words)(_key_change(kind.replace("-", "_")))


def _key_change(kind: str) -> Callable[..., None]:
    @click.argument("publisher")
    @click.argument("public", type=_FILE)
    @_AT
    @_KEY
    def change(publisher: str, public: Path, url: str, file: Path) -> None:
        from orchestrator_marketplace.signing_keys import load_public_key, public_pem

        pem = public_pem(load_public_key(public)).decode()
        _act(url, file, kind, f"{publisher}/", None, key=pem)

    return change


_key_changes()


def _act(url: str, file: Path, kind: str, name: str, version: str | None, **more: Any) -> None:
    publisher, _, agent = name.partition("/")
    sealed = _sealed(url, file, kind, publisher, agent=agent or None, version=version, **more)
    with _client(url) as client:
        listing = client.act(sealed)
    print(
        f"{publisher}: {kind} is done"
        if listing is None
        else f"{listing.name} {listing.version}: {listing.state}"
    )


def _subscription(at: str, file: Path, kind: str, publisher: str, **more: Any) -> None:
    from orchestrator_runtimes.codec import encode

    sealed = _sealed(at, file, kind, publisher, **more)
    with _client(at) as client:
        print(json.dumps(encode(client.subscribe(sealed)), indent=1))


def _sealed(at: str, file: Path, kind: str, publisher: str, **more: Any) -> bytes:
    """Return an action of now for the marketplace at an address, signed by the key in a file."""
    from orchestrator_marketplace.actions import Action, moment, new_id, seal_action
    from orchestrator_marketplace.signing_keys import load_private_key

    try:
        action = Action(
            marketplace=urlsplit(at).netloc,
            id=new_id(),
            at=moment(datetime.now(UTC)),
            kind=kind,  # type: ignore[arg-type]  # the commands are its kinds
            publisher=publisher,
            **more,
        )
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    return seal_action(action, load_private_key(file))


@contextlib.contextmanager
def _client(url: str) -> "Generator[Marketplace]":
    from orchestrator_marketplace.marketplace_client import HttpMarketplace

    client = HttpMarketplace(url)
    try:
        yield client
    finally:
        client.close()


@contextlib.contextmanager
def _events_of(client: "Marketplace", url: str, bus: str | None) -> "Generator[Callable[..., Events]]":
    """Have what returns events: the marketplace, or its stream, which needs a library of its own."""
    if bus is None:
        yield client.events
        return
    try:
        from orchestrator_marketplace.event_streams import StreamEvents
    except ImportError as error:
        raise click.ClickException(
            f"--bus needs a library: install agent-orchestrator[bus] ({error})"
        ) from error
    source = StreamEvents(client, bus, urlsplit(url).netloc)
    try:
        yield source.events
    finally:
        source.close()


def _shown(text: object) -> str:
    """Return a stranger's text without what a terminal would obey."""
    return "".join(one if one.isprintable() else "?" for one in str(text)[:200])


def _told(listing: "Listing") -> dict[str, Any]:
    from orchestrator_runtimes.codec import encode

    return encode(listing)
