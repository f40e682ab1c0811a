"""What an official OpenAI client does with an endpoint; run in a framework's environment, prints one line of JSON.

Arguments: the base URL. Standard input: the token.
"""

import importlib
import json
import sys
from typing import Any, Final

from pydantic import BaseModel

OPENAI: Final[Any] = importlib.import_module("openai")  # not of this project's own environment


class City(BaseModel):
    """A structured output."""

    name: str


WEATHER: Final[dict[str, Any]] = {
    "type": "function",
    "function": {
        "name": "weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
        "strict": True,
    },
}


def main() -> None:
    """Do all of it."""
    client = OPENAI.OpenAI(base_url=sys.argv[1], api_key=sys.stdin.read().strip(), max_retries=0)
    hi = [{"role": "user", "content": "hi"}]
    found: dict[str, Any] = {}
    found["models"] = [model.id for model in client.models.list()]
    found["model"] = client.models.retrieve("fast").id
    found["plain"] = client.chat.completions.create(model="fast", messages=hi).choices[0].message.content
    asked: dict[str, Any] = {"stream": True, "stream_options": {"include_usage": True}}
    stream = client.chat.completions.create(model="fast", messages=hi, **asked)
    pieces = list(stream)
    found["streamed"] = "".join(p.choices[0].delta.content or "" for p in pieces if p.choices)
    found["usage"] = pieces[-1].usage is not None
    called = client.chat.completions.create(model="fast", messages=hi, tools=[WEATHER], tool_choice="auto")
    found["tool"] = called.choices[0].message.tool_calls[0].function.name
    logprobs = client.chat.completions.create(model="fast", messages=hi, logprobs=True, top_logprobs=2)
    found["logprobs"] = logprobs.choices[0].message.content
    parsed = client.chat.completions.parse(model="fast", messages=hi, response_format=City)
    found["parsed"] = isinstance(parsed.choices[0].message.parsed, City)
    found["response"] = client.responses.create(model="fast", input="hi").output_text
    with client.responses.stream(model="fast", input="hi") as events:
        for _ in events:
            pass
        found["response_streamed"] = events.get_final_response().output_text
    found["embedding"] = len(client.embeddings.create(model="fast", input=["hi", "ho"]).data)
    try:
        client.chat.completions.create(model="unknown", messages=hi)
    except OPENAI.NotFoundError as error:
        found["unknown"] = error.code
    try:
        client.files.list()
    except OPENAI.NotFoundError as error:
        found["files"] = error.message
    try:
        client.with_options(api_key="wrong").models.list()
    except OPENAI.AuthenticationError as error:
        found["token"] = error.message
    try:
        client.chat.completions.create(model="broken", messages=hi)
    except OPENAI.RateLimitError as error:
        found["limited"] = error.response.headers["retry-after"]
    print(json.dumps(found))


if __name__ == "__main__":
    main()
