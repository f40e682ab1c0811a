"""Schedules, sensors and their ticks as one tenant may see and change them; checked against Dagster 1.13.27."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar

from orchestrator_tenancy.web.allowed import Allowed, Rule, passed, refused
from orchestrator_tenancy.web.scopes import ABSENT, NotForTenants, Scope


class TenantSchedules(Allowed):
    """Schedule storage of one tenant, for one request.

    Args:
        inner: The shared schedule storage.
        scope: Whose schedules and sensors.
        selectors: Returns the digests that name the schedules and sensors that the tenant's locations have now.
    """

    def __init__(self, inner: Any, scope: Scope, selectors: Callable[[], frozenset[str]]) -> None:
        super().__init__(inner, scope)
        self._current = selectors

    def owns_selector(self, selector: str | None) -> bool:
        """Return whether a schedule or sensor is the tenant's, one that its location had once included."""
        if not selector:
            return False
        return selector in self._current() or any(
            state.selector_id == selector for state in self.all_instigator_state()
        )

    def owns_log(self, log_key: Sequence[str]) -> bool:
        """Return whether a log is that of a tick of the tenant."""
        number = log_key[-1] if log_key else ""
        if not number.isdecimal():
            return False
        ticks = self.get_ticks_by_ids([int(number)])
        return any(list(tick.tick_data.log_key or ()) == list(log_key) for tick in ticks)

    def _owns_state(self, state: Any) -> bool:
        return self._scope.owns_location(state.origin.repository_origin.code_location_origin.location_name)

    def _must_state(self, state: Any) -> Any:
        if not self._owns_state(state):
            raise NotForTenants(f"there is no {state.instigator_name!r}")
        return state

    def _own_ticks(self, ticks: Iterable[Any]) -> list[Any]:
        return [tick for tick in ticks if self.owns_selector(tick.tick_data.selector_id)]

    # -- what is running

    def all_instigator_state(self, *args: Any, **named: Any) -> Sequence[Any]:
        """Return the tenant's of some schedules and sensors."""
        return [
            state for state in self._inner.all_instigator_state(*args, **named) if self._owns_state(state)
        ]

    def get_instigator_state(self, origin_id: str, selector_id: str) -> Any:
        """Return a schedule or sensor of the tenant; None when there is none."""
        state = self._inner.get_instigator_state(origin_id, selector_id)
        return state if state is not None and self._owns_state(state) else None

    def add_instigator_state(self, state: Any) -> Any:
        """Keep a schedule's or sensor's state."""
        return self._inner.add_instigator_state(self._must_state(state))

    def update_instigator_state(self, state: Any) -> Any:
        """Change a schedule's or sensor's state."""
        self._must_state(state)
        # the row is found by digests that whoever wrote it chose
        if self.get_instigator_state(state.instigator_origin_id, state.selector_id) is None:
            raise NotForTenants(f"there is no {state.instigator_name!r}")
        return self._inner.update_instigator_state(state)

    def delete_instigator_state(self, origin_id: str, selector_id: str) -> None:
        """Forget a schedule's or sensor's state."""
        if self.get_instigator_state(origin_id, selector_id) is None:
            raise NotForTenants("there is no such schedule or sensor")
        self._inner.delete_instigator_state(origin_id, selector_id)

    # -- ticks: rows older than selectors are found by an origin that anybody may write, so it is not asked for

    def get_ticks(self, origin_id: str, selector_id: str, *rest: Any, **named: Any) -> Sequence[Any]:
        """Return ticks of a schedule or sensor of the tenant; none of another's."""
        return self._own_ticks(self._inner.get_ticks(ABSENT, self._selector(selector_id), *rest, **named))

    def get_tick_summaries(self, origin_id: str, selector_id: str, *rest: Any, **named: Any) -> Sequence[Any]:
        """Return when a schedule or sensor of the tenant ticked; nothing of another's."""
        found: Sequence[Any] = self._inner.get_tick_summaries(
            ABSENT, self._selector(selector_id), *rest, **named
        )
        return found

    def _selector(self, selector: str) -> str:
        return selector if self.owns_selector(selector) else ABSENT

    def get_tick(self, tick_id: int) -> Any:
        """Return a tick of the tenant.

        Raises:
            NotForTenants: There is none.
        """
        own = self.get_ticks_by_ids([tick_id])
        if not own:
            raise NotForTenants("there is no such tick")
        return own[0]

    def get_ticks_by_ids(self, tick_ids: Sequence[int]) -> Sequence[Any]:
        """Return the tenant's of some ticks."""
        return self._own_ticks(self._inner.get_ticks_by_ids(tick_ids))

    def get_batch_ticks(
        self, selector_ids: Sequence[str], *rest: Any, **named: Any
    ) -> Mapping[str, Sequence[Any]]:
        """Return ticks of the tenant's of some schedules and sensors."""
        own = [selector for selector in selector_ids if self.owns_selector(selector)]
        return self._inner.get_batch_ticks(own, *rest, **named) if own else {}

    # -- why automation did what it did

    def get_auto_materialize_asset_evaluations(self, key: Any, *rest: Any, **named: Any) -> Sequence[Any]:
        """Return evaluations of an asset or check of the tenant; none of another's."""
        if not self._scope.owns_entity(key):
            return []
        found: Sequence[Any] = self._inner.get_auto_materialize_asset_evaluations(key, *rest, **named)
        return found

    def get_auto_materialize_evaluations_for_evaluation_id(self, evaluation_id: int) -> Sequence[Any]:
        """Return the tenant's part of an evaluation."""
        found = self._inner.get_auto_materialize_evaluations_for_evaluation_id(evaluation_id)
        return [record for record in found if self._scope.owns_entity(record.key)]

    RULES: ClassVar[Mapping[str, Rule]] = {
        "has_instance": passed,
        "supports_auto_materialize_asset_evaluations": passed,
        "supports_batch_queries": passed,
        **dict.fromkeys(
            (
                "add_auto_materialize_asset_evaluations",
                "alembic_version",
                "create_tick",
                "dispose",
                "migrate",
                "optimize",
                "optimize_for_webserver",
                "purge_asset_evaluations",
                "purge_ticks",
                "register_instance",
                "update_tick",
                "upgrade",
                "wipe",
            ),
            refused,
        ),
    }
