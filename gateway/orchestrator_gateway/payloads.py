"""Bodies and results as a journal keeps them: compressed, and beside the event loop where that takes long."""

import asyncio
import zlib
from typing import Final

_LEVEL: Final = 1
"""Model answers shrink to a third at the fastest level; the next ones cost twice the time for a tenth."""

_LONG_BYTES: Final = 256 * 2**10
"""From here on compressing takes milliseconds, which other calls must not wait for."""


async def packed(data: bytes) -> bytes:
    """Return data as it is kept."""
    if len(data) < _LONG_BYTES:
        return zlib.compress(data, _LEVEL)
    return await asyncio.to_thread(zlib.compress, data, _LEVEL)


async def unpacked(data: bytes) -> bytes:
    """Return what was packed."""
    if len(data) < _LONG_BYTES // 4:
        return zlib.decompress(data)
    return await asyncio.to_thread(zlib.decompress, data)


async def packed_text(text: str) -> bytes:
    """Return a text as it is kept; any that JSON can hold, lone surrogates too."""
    return await packed(text.encode(errors="surrogatepass"))


async def unpacked_text(data: bytes) -> str:
    """Return a text that was packed."""
    return (await unpacked(data)).decode(errors="surrogatepass")
