"""Whom clients of a marketplace trust to say who it is: the usual authorities, and those of an operator."""

import os
import ssl
from typing import Final

import httpx

from orchestrator_marketplace.marketplaces import MarketplaceError, Problem

CA_FILE: Final = "ORCHESTRATOR_MARKETPLACE_CA_FILE"
"""Variable with a file of further authorities, PEM, such as those of a cluster."""


def trusted() -> ssl.SSLContext:
    """Return what a client verifies a marketplace by, name and all.

    Raises:
        MarketplaceError: `malformed` when the file that the variable names cannot be used.
    """
    context = httpx.create_ssl_context()
    if named := os.environ.get(CA_FILE):
        try:
            context.load_verify_locations(cafile=named)
        except (OSError, ssl.SSLError) as error:
            raise MarketplaceError(
                Problem.MALFORMED,
                f"{CA_FILE}: {named!r} holds no certificates that can be read, PEM",
                cause=str(error),
            ) from error
    return context
