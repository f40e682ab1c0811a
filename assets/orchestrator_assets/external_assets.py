"""`ExternalAssetsComponent`: assets of other code locations, by their keys, so that agents may take them as inputs."""

from collections.abc import Sequence

import dagster as dg
from dagster.components import ComponentLoadContext
from pydantic import Field


class ExternalAssetsComponent(dg.Component, dg.Model, dg.Resolvable):
    """Assets that other code locations make, and agents of this one take as inputs."""

    keys: Sequence[str] = Field(description="Keys, with slashes.", examples=[["raw/documents"]], min_length=1)

    def build_defs(self, context: ComponentLoadContext) -> dg.Definitions:
        """Return the assets."""
        return dg.Definitions(assets=self.specs())

    def specs(self) -> list[dg.AssetSpec]:
        """Return the assets."""
        return [dg.AssetSpec(dg.AssetKey.from_user_string(key)) for key in self.keys]
