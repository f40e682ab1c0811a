"""Assets that other code locations make."""

from typing import Any

import dagster as dg
import pytest
from pydantic import ValidationError

from orchestrator_assets import ExternalAssetsComponent


def test_keys_become_assets_that_nobody_here_makes() -> None:
    context: Any = None  # it needs none
    made = ExternalAssetsComponent(keys=["raw/documents", "prices"]).build_defs(context).assets or ()
    keys = [one.key.path for one in made if isinstance(one, dg.AssetSpec)]
    assert keys == [["raw", "documents"], ["prices"]]


def test_no_key_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least 1 item"):
        ExternalAssetsComponent(keys=[])
