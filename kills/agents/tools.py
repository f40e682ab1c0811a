"""The tools of the trials: they tell the witness, which counts, and answer with its receipt."""

import asyncio
import json
import urllib.parse
import urllib.request

SECONDS = 120.0


def tell(witness: str, tool: str, item: str, number: int) -> str:
    """Have an effect outside, and return its receipt."""
    with urllib.request.urlopen(request(witness, tool, item, number), timeout=SECONDS) as answer:
        return str(answer.read().decode())


async def tell_soon(witness: str, tool: str, item: str, number: int) -> str:
    """Do the same without a thread: many executions wait at once."""
    address = urllib.parse.urlsplit(witness)
    async with asyncio.timeout(SECONDS):
        reader, writer = await asyncio.open_connection(address.hostname, address.port)
        try:
            body = json.dumps({"tool": tool, "item": item, "number": number})
            head = (
                f"POST {address.path}/tools HTTP/1.0\r\nhost: witness\r\ncontent-length: {len(body)}\r\n\r\n"
            )
            writer.write((head + body).encode())
            answer = (await reader.read()).decode()
        finally:
            writer.close()
    head, _, receipt = answer.partition("\r\n\r\n")
    if " 200 " not in head.split("\r\n", 1)[0]:
        raise OSError(f"the witness answered {head.splitlines()[:1]}")
    return receipt


def request(witness: str, tool: str, item: str, number: int) -> urllib.request.Request:
    """Return the request of a tool's effect."""
    body = json.dumps({"tool": tool, "item": item, "number": number}).encode()
    return urllib.request.Request(f"{witness}/tools", data=body, method="POST")


async def read(item: str, number: int, witness: str) -> str:
    """Read about an item."""
    return await tell_soon(witness, "read", item, number)


async def weigh(item: str, number: int, witness: str) -> str:
    """Weigh an item."""
    return await tell_soon(witness, "weigh", item, number)


async def order(item: str, number: int, witness: str) -> str:
    """Order an item."""
    return await tell_soon(witness, "order", item, number)


async def pay(item: str, number: int, witness: str) -> str:
    """Pay for an item."""
    return await tell_soon(witness, "pay", item, number)
