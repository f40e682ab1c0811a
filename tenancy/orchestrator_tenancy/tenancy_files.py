"""Tenants in a YAML file, such as one of a Git repository or of a ConfigMap."""

from pathlib import Path

import yaml

from orchestrator_tenancy.tenants import BadTenancy, Tenancy, read_tenancy


class TenancyFile:
    """See `tenants.TenantDirectory`: reads the file again when it was changed.

    Args:
        path: Of the file; None means that there are no tenants.
    """

    def __init__(self, path: Path | None) -> None:
        """Read nothing yet."""
        self._path = path
        self._seen: tuple[int, int, int] | None = None
        self._tenancy = Tenancy()

    def tenancy(self) -> Tenancy:
        """Return what stands in the file.

        Raises:
            BadTenancy: It cannot be read, or is none; the text names it.
        """
        if self._path is None:
            return self._tenancy
        try:
            status = self._path.stat()
            seen = (status.st_ino, status.st_mtime_ns, status.st_size)
            if seen != self._seen:
                self._tenancy = read_tenancy(yaml.safe_load(self._path.read_bytes()) or {})
                self._seen = seen
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise BadTenancy(f"{self._path}: {' '.join(str(error).split())}") from error
        return self._tenancy
