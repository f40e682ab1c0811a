"""A reviewer written in LangGraph."""

from facts import read_licence, read_requirements
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="smollm2", temperature=0)
reviewer = create_agent(
    model,
    [read_licence, read_requirements],
    system_prompt="You review Python distributions. Call read_licence with the distribution's name, then say which licence it has.",
)
