"""What runs, backfills and ticks wrote, as one tenant may read it; checked against Dagster 1.13.27.

The first part of a log's key is a run's id, or `backfill` before a backfill's; a tick's ends with its number.
"""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final

from orchestrator_tenancy.web.allowed import Allowed, Rule, given, passed, refused
from orchestrator_tenancy.web.runs import TenantRuns
from orchestrator_tenancy.web.schedules import TenantSchedules
from orchestrator_tenancy.web.scopes import ABSENT, Scope

_OF_BACKFILLS: Final = "backfill"
_ABSENT_LOG: Final = (ABSENT, ABSENT, ABSENT)


class TenantLogs(Allowed):
    """Compute log manager of one tenant, for one request.

    Args:
        inner: The shared compute log manager.
        scope: Whose logs.
        runs: The tenant's.
        schedules: The tenant's.
    """

    def __init__(self, inner: Any, scope: Scope, runs: TenantRuns, schedules: TenantSchedules) -> None:
        super().__init__(inner, scope)
        self._runs = runs
        self._schedules = schedules

    def owns(self, log_key: Sequence[str]) -> bool:
        """Return whether a log is the tenant's; a key that would lead elsewhere as a path is nobody's."""
        if not log_key or not all(_is_plain(part) for part in log_key):
            return False
        if log_key[0] == _OF_BACKFILLS:
            return len(log_key) > 1 and self._runs.owns_backfill(log_key[1])
        return self._runs.owns_run(log_key[0]) or self._schedules.owns_log(log_key)

    def _log(self, log_key: Sequence[str]) -> Sequence[str]:
        return log_key if self.owns(log_key) else _ABSENT_LOG

    RULES: ClassVar[Mapping[str, Rule]] = {
        **dict.fromkeys(
            (
                "get_log_data",
                "get_log_data_for_type",
                "get_log_keys_for_log_key_prefix",
                "get_log_metadata",
                "is_capture_complete",
                "read_log_lines_for_log_key_prefix",
                "subscribe",
            ),
            given(_log),
        ),
        **dict.fromkeys(
            ("build_cursor", "build_log_key_for_run", "has_instance", "parse_cursor", "unsubscribe"), passed
        ),
        **dict.fromkeys(
            ("capture_logs", "delete_logs", "dispose", "open_log_stream", "register_instance"), refused
        ),
    }


def _is_plain(part: str) -> bool:
    return part not in {"", ".", ".."} and not any(sign in part for sign in "/\\\0")
