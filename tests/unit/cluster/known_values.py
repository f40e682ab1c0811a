"""Values as a database keeps them, in memory."""

import contextlib
from collections.abc import Callable, Generator


class KnownValues:
    """See `orchestrator_cluster.warm_claims.Values`."""

    def __init__(self) -> None:
        self.kept = dict[str, str]()

    def add(self, key: str, value: str, /) -> bool:
        if key in self.kept:
            return False
        self.kept[key] = value
        return True

    def swap(self, key: str, old: str, new: str, /) -> bool:
        if self.kept.get(key) != old:
            return False
        self.kept[key] = new
        return True

    def read(self, key: str, /) -> str | None:
        return self.kept.get(key)

    def below(self, prefix: str, /) -> dict[str, str]:
        return {key[len(prefix) :]: value for key, value in self.kept.items() if key.startswith(prefix)}

    def remove(self, key: str, /) -> None:
        self.kept.pop(key, None)

    @contextlib.contextmanager
    def reading(self) -> Generator[Callable[[str], str | None]]:
        yield self.kept.get
