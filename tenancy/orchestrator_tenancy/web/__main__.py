"""`python -m orchestrator_tenancy.web`."""

from orchestrator_tenancy.web.command import web

web()
