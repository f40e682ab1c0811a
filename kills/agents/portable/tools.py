"""The four tools of the portable agent."""

from witness_calls import tell_soon


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
