"""Texts that a run sealed for people of its tenant, such as what an agent asks: opened for them alone, as they ask.

They stand sealed in Dagster's metadata. Whose key opens them is decided by who asks, never by the text.
"""

from typing import Any, cast

from graphql import GraphQLSchema, default_field_resolver

from orchestrator_gateway.tenant_keys import KeyFile, NoTenantKey
from orchestrator_resources.personal_fields import is_sealed
from orchestrator_resources.sealed_texts import opened_for_people
from orchestrator_runtimes.errors import AgentError
from orchestrator_tenancy.web.contexts import TenantRequestContext


def open_texts(schema: GraphQLSchema, keys: KeyFile) -> None:
    """Let the text of a metadata entry be open to whoever is of its tenant; for others it stays as it is stored.

    Args:
        schema: Of Dagster's GraphQL.
        keys: Of the tenants.
    """
    field = cast(Any, schema.type_map["TextMetadataEntry"]).fields["text"]
    resolve = field.resolve or default_field_resolver

    def resolved(entry: Any, info: Any, **given: Any) -> Any:
        text = resolve(entry, info, **given)
        context = info.context
        if not (is_sealed(text) and isinstance(context, TenantRequestContext)):
            return text
        try:
            return opened_for_people(keys.of(context.scope.tenant), text)
        except (NoTenantKey, AgentError):
            return text  # its key is gone, or not here yet

    field.resolve = resolved
