"""Native agents of the fake framework, for the suite."""

from orchestrator_runtimes.conformance.fake import FakeAgent, FakeTeam


def weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"sunny in {city}"


def broken(city: str) -> str:
    """Fail, always."""
    raise ValueError(f"no station in {city}")


assistant = FakeAgent(instructions="You are helpful.")
with_tool = FakeAgent(instructions="You know the weather.", tools=[weather])
asking = FakeAgent(instructions="You are careful.", asks=True)
raising = FakeAgent(instructions="You know the weather.", tools=[broken])


def team() -> FakeTeam:
    """Make a team of two."""
    return FakeTeam(members=[assistant, FakeAgent(instructions="You sum up.", name="second")])
