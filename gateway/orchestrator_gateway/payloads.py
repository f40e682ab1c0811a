"""Bodies and results as a journal keeps them: compressed, and beside the event loop where that takes long.

What is sealed was compressed before, and is kept as it is.
"""

import asyncio
import zlib
from typing import Final

_LEVEL: Final = 1
"""Model answers shrink to a third at the fastest level; the next ones cost twice the time for a tenth."""

LONG_BYTES: Final = 256 * 2**10
"""From here on compressing takes milliseconds, which other calls must not wait for."""

SEALED: Final = b"\x00sealed\x00"
"""How bytes begin that are sealed; nothing that zlib compressed does."""

SEALED_TEXT: Final = "sealed:"
"""How texts begin that are sealed."""


async def packed(data: bytes) -> bytes:
    """Return data as it is kept."""
    if data.startswith(SEALED):
        return data
    if len(data) < LONG_BYTES:
        return zlib.compress(data, _LEVEL)
    return await asyncio.to_thread(zlib.compress, data, _LEVEL)


async def unpacked(data: bytes) -> bytes:
    """Return what was packed."""
    if data.startswith(SEALED):
        return data
    if len(data) < LONG_BYTES // 4:
        return zlib.decompress(data)
    return await asyncio.to_thread(zlib.decompress, data)


async def packed_text(text: str) -> bytes:
    """Return a text as it is kept; any that JSON can hold, lone surrogates too."""
    return await packed(text.encode(errors="surrogatepass"))


async def unpacked_text(data: bytes) -> str:
    """Return a text that was packed."""
    return (await unpacked(data)).decode(errors="surrogatepass")
