"""Container images as archives, in the format that `docker save` writes and every runtime reads."""

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

SEARCH_PATH: Final = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
_BLOCK: Final = 1 << 20
_CREATED: Final = "1970-01-01T00:00:00Z"
"""The same files make the same image at any time."""


def layer_of_programs(layer: Path, programs: Mapping[str, Path]) -> None:
    """Write a layer that holds programs.

    Args:
        layer: The file to write.
        programs: Names in the image's root, and the files that they are copies of.
    """
    with tarfile.open(layer, "w", format=tarfile.GNU_FORMAT) as archive:
        for name, program in sorted(programs.items()):
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode = program.stat().st_size, 0o755
            with program.open("rb") as content:
                archive.addfile(entry, content)


def image_settings(digest: str, entrypoint: Sequence[str]) -> dict[str, Any]:
    """Return an image's configuration.

    Args:
        digest: SHA-256 of the one layer, in hexadecimal digits.
        entrypoint: What runs if a pod names no command.
    """
    return {
        "architecture": _ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Env": [SEARCH_PATH], "Entrypoint": list(entrypoint)},
        # builds on an image count its layers by this
        "history": [{"created": _CREATED, "created_by": "orchestrator_tools.cluster"}],
        "created": _CREATED,
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{digest}"]},
    }


def write_image(archive: Path, name: str, layer: Path, entrypoint: Sequence[str] = ()) -> None:
    """Write an image of one layer; the same layer makes the same bytes.

    Args:
        archive: The file to write.
        name: Of the image, with its tag.
        layer: A tar file of the image's files.
        entrypoint: What runs if a pod names no command.
    """
    digest = _digest(layer)
    settings = json.dumps(image_settings(digest, entrypoint), sort_keys=True).encode()
    settings_name = f"{hashlib.sha256(settings).hexdigest()}.json"
    layer_name = f"{digest}/layer.tar"
    manifest = json.dumps([{"Config": settings_name, "RepoTags": [name], "Layers": [layer_name]}]).encode()
    with tarfile.open(archive, "w", format=tarfile.GNU_FORMAT) as image:
        for text_name, text in ((settings_name, settings), ("manifest.json", manifest)):
            entry = tarfile.TarInfo(text_name)
            entry.size = len(text)
            image.addfile(entry, io.BytesIO(text))
        entry = tarfile.TarInfo(layer_name)
        entry.size = layer.stat().st_size
        with layer.open("rb") as content:
            image.addfile(entry, content)


def _digest(file: Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as content:
        while block := content.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()
