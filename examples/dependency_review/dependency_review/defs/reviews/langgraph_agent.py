"""A reviewer written in LangGraph."""

from facts import read_licence, read_requirements
from langchain.agents import create_agent
from langchain_openai import ChatOpenAI

model = ChatOpenAI(model="smollm2", temperature=0)
reviewer = create_agent(
    model,
    [read_licence, read_requirements],
    system_prompt="You review Python distributions: read the licence, then say which it is.",
)
