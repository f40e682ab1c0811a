"""The tools that the suite gives to portable agents."""

import os
import time
from typing import Annotated


def weather(city: Annotated[str, "name of the city"]) -> str:
    """Tell the weather in a city."""
    print(f"looking up {city}")
    return f"sunny in {city}"


async def population(city: str, year: int = 2020) -> int:
    """Tell how many people live in a city."""
    return year + len(city)


def broken(city: str) -> str:
    """Fail, always."""
    raise ValueError(f"no station in {city}")


def slow(city: str) -> str:
    """Take a second."""
    time.sleep(1)
    return f"slowly sunny in {city}"


def ends_process(city: str) -> str:
    """End the process, as a crash would."""
    os._exit(17)
