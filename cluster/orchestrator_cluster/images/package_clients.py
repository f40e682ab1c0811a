"""How the package clients of whoever builds reach their packages: given to a build as secrets, kept by no image."""

import json
import platform
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_VARIABLES: Final = re.compile(
    r"(?:UV_(?:.*INDEX.*|FIND_LINKS|KEYRING_PROVIDER|INSECURE_HOST|NATIVE_TLS|SYSTEM_CERTS|HTTP_.*|REQUEST_.*|OFFLINE)"
    r"|(?:https?|no|all)_proxy|npm_config_(?!cache|nodedir|prefix|globalconfig|userconfig|init).*)",
    re.IGNORECASE,
)
"""Where packages are and how to get there; not where this machine keeps anything."""

_FILES: Final = (".npmrc", ".netrc", ".config/uv/uv.toml", ".config/pip/pip.conf")
"""Of the user's home, and of the clients' home in the build."""

_SYSTEM_FILES: Final = {"/etc/uv/uv.toml": ".config/uv/uv.toml", "/etc/pip.conf": ".config/pip/pip.conf"}
"""Of the machine, where the user has none, and what they are in the build."""


def client_secrets(home: Path, environment: Mapping[str, str]) -> dict[str, bytes]:
    """Return the secrets of a build by name: what the clients are told, and the certificates that they trust.

    Args:
        home: Of the user who builds.
        environment: Variables of the process that builds.
    """
    given = {name: value for name, value in environment.items() if _VARIABLES.fullmatch(name)}
    texts: dict[str, str] = {}
    for path, name in [*_SYSTEM_FILES.items(), *((str(home / file), file) for file in _FILES)]:
        if Path(path).is_file():
            texts[name] = Path(path).read_text()
    if (named := environment.get("UV_CONFIG_FILE")) and Path(named).is_file():
        texts[".config/uv/uv.toml"] = Path(named).read_text()
    certificates = environment.get("SSL_CERT_FILE")
    return {
        "packages": json.dumps({"variables": given, "files": texts}).encode(),
        "certificates": Path(certificates).read_bytes()
        if certificates and Path(certificates).is_file()
        else b"",
    }


def image_platform() -> str:
    """Return the platform of the images that this machine builds, as uv names it."""
    machine = {"arm64": "aarch64", "amd64": "x86_64"}.get(platform.machine().lower(), platform.machine())
    return f"{machine}-manylinux_2_28"
