"""`orchestrator unseal`: what the platform sealed, for who has the key of its tenant."""

import re
from typing import IO, Final

import click

from orchestrator_resources.homes import home_folder
from orchestrator_resources.local_keys import local_keys
from orchestrator_resources.personal_fields import PLACE, SEALED_FORM
from orchestrator_resources.sealed_texts import SealedTexts, tenant_keys_file
from orchestrator_runtimes.errors import AgentError

_LONGEST: Final = 64 * 2**20


@click.command()
@click.argument("file", type=click.File("r"), default="-")
def unseal(file: IO[str]) -> None:
    """Print a text with what is sealed in it opened: marked fields, errors that may quote them, questions.

    FILE is - for the standard input. The key is that of ORCHESTRATOR_TENANT_KEYS_FILE, and without it the one
    of this machine, which seals where there are no tenants. Fields are printed as JSON.
    """
    text = file.read(_LONGEST + 1)
    if len(text) > _LONGEST:
        raise click.ClickException(f"longer than {_LONGEST} characters: give it in parts")
    texts = SealedTexts(tenant_keys_file() or local_keys(home_folder()))
    click.echo(re.sub(SEALED_FORM, lambda found: _opened(texts, found.group()), text), nl=False)


def _opened(texts: SealedTexts, sealed: str) -> str:
    try:
        return texts.open_for_people(sealed)
    except AgentError:
        return texts.open(PLACE, sealed)
