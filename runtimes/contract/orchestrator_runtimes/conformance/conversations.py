"""A model request of either API as one `Conversation`: what a scripted model decides from."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from hashlib import blake2b
from typing import cast

from orchestrator_runtimes.conformance.json_tree import JsonObject, as_list, as_object, as_text


class MalformedRequest(Exception):
    """The request is not one that the API accepts; the message goes into the 400 error body."""


@dataclass(frozen=True, kw_only=True)
class OfferedTool:
    """A function that the model may call: its name, and the JSON Schema of its arguments."""

    name: str
    parameters: JsonObject


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One message.

    Attributes:
        role: `system`, `user`, `assistant` or `tool`.
        text: Its text; parts that are no text are left out.
        calls: Name and arguments of each tool call in it.
        call_ids: Their ids; for a tool message, the one id that it answers.
    """

    role: str
    text: str = ""
    calls: tuple[tuple[str, str], ...] = ()
    call_ids: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Conversation:
    """What a request says so far, and what it asks for.

    A turn begins with the user message after the last final answer (an assistant message without tool calls).
    A user message straight after a tool message belongs to the same turn: CrewAI writes one after every tool
    result.

    Attributes:
        entries: Every message, in order.
        tools: What is offered, in order.
        tool_choice: `auto`, `none`, `required`, or `tool:NAME` when the request forces one.
        wants_json: The request asks for JSON text.
        schema: The JSON Schema it asks for; None when any object will do, or no JSON is asked for.
    """

    entries: tuple[Entry, ...]
    tools: tuple[OfferedTool, ...] = ()
    tool_choice: str = "auto"
    wants_json: bool = False
    schema: JsonObject | None = None

    @cached_property
    def turn(self) -> tuple[Entry, ...]:
        """The messages of the current turn."""
        start = 0
        answered = False
        for index, entry in enumerate(self.entries):
            if entry.role == "assistant":
                answered = not entry.calls
            elif entry.role == "user" and answered:
                start, answered = index, False
        return self.entries[start:]

    @property
    def rounds(self) -> int:
        """Rounds of tool calls in this turn that have results."""
        turn = self.turn
        results = any(entry.role == "tool" for entry in turn)
        # LightAgent sends results without the calls that they answer
        return max(sum(1 for entry in turn if entry.calls), 1) if results else 0

    @property
    def call(self) -> int:
        """Number of this model call in its turn, from 1: one more than the assistant messages before it."""
        return 1 + sum(1 for entry in self.turn if entry.role == "assistant")

    @property
    def called(self) -> frozenset[str]:
        """Names of the tools called in this turn."""
        return frozenset(name for entry in self.turn for name, _ in entry.calls)

    @cached_property
    def prompt(self) -> str:
        """Every text, tool name and tool argument of the messages, one a line."""
        return "\n".join(text for entry in self.entries for text in _texts(entry) if text)

    @property
    def key(self) -> str:
        """The same for every request of one conversation: a digest of its first user text."""
        users = (entry.text for entry in self.entries if entry.role == "user")
        return blake2b(next(users, self.prompt).encode(errors="replace"), digest_size=16).hexdigest()


def _texts(entry: Entry) -> Iterable[str]:
    yield entry.text
    for call in entry.calls:
        yield from call


def tokens(text: str) -> int:
    """Return the tokens counted for `text`: one for every four characters begun, none for an empty text."""
    return (len(text) + 3) // 4


def of_chat(body: JsonObject) -> Conversation:
    """Read a request of the Chat Completions API.

    Raises:
        MalformedRequest: A message or a tool has not the form that the API asks for.
    """
    messages = _list_of_objects(body, "messages")
    if not messages:
        raise MalformedRequest("'messages' must hold at least one message")
    offered = [as_object(tool.get("function")) for tool in _list_of_objects(body, "tools")]
    asked = as_object(body.get("response_format"))
    return Conversation(
        entries=tuple(_chat_entry(message, index) for index, message in enumerate(messages)),
        tools=_offered(offered),
        tool_choice=_tool_choice(body.get("tool_choice"), offered),
        wants_json=asked.get("type") in ("json_schema", "json_object"),
        schema=_schema_in(as_object(asked.get("json_schema")))
        if asked.get("type") == "json_schema"
        else None,
    )


def of_responses(body: JsonObject) -> Conversation:
    """Read a request of the Responses API. Nothing is stored, so `previous_response_id` is refused.

    Raises:
        MalformedRequest: The input or a tool has not the form that the API asks for.
    """
    if body.get("previous_response_id") is not None:
        raise MalformedRequest("'previous_response_id' names no stored response: this endpoint stores none")
    given = body.get("input")
    if isinstance(given, str):
        items: list[JsonObject] = [{"role": "user", "content": given}]
    else:
        items = _list_of_objects(body, "input")
    if not items:
        raise MalformedRequest("'input' must be a text or hold at least one item")
    offered = [tool for tool in _list_of_objects(body, "tools") if tool.get("type") == "function"]
    asked = as_object(as_object(body.get("text")).get("format"))
    instructions = as_text(body.get("instructions"))
    first = (Entry(role="system", text=instructions),) if instructions else ()
    return Conversation(
        entries=first + tuple(_response_entries(items)),
        tools=_offered(offered),
        tool_choice=_tool_choice(body.get("tool_choice"), offered),
        wants_json=asked.get("type") in ("json_schema", "json_object"),
        schema=_schema_in(asked) if asked.get("type") == "json_schema" else None,
    )


def check_tool_messages(conversation: Conversation) -> None:
    """Refuse, as OpenAI does, a tool message without its call and a call without its tool message.

    Raises:
        MalformedRequest: Naming the first id that has no counterpart.
    """
    open_ids: set[str] = set()
    for entry in conversation.entries:
        if entry.role == "tool":
            if entry.call_ids[0] not in open_ids:
                raise MalformedRequest(
                    "messages with role 'tool' must be a response to a preceding message with 'tool_calls': "
                    f"{entry.call_ids[0]!r}"
                )
            open_ids.discard(entry.call_ids[0])
        else:
            _refuse_unanswered(open_ids)
            open_ids = set(entry.call_ids)
    _refuse_unanswered(open_ids)


def _refuse_unanswered(open_ids: set[str]) -> None:
    if open_ids:
        raise MalformedRequest(f"no tool message answers the tool call {min(open_ids)!r}")


def _list_of_objects(body: JsonObject, name: str) -> list[JsonObject]:
    value = body.get(name)
    if value is None:
        return []
    items = as_list(value)
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in items):
        raise MalformedRequest(f"{name!r} must be a list of objects")
    return [as_object(item) for item in items]


def _chat_entry(message: JsonObject, index: int) -> Entry:
    role = as_text(message.get("role"))
    if role not in ("system", "developer", "user", "assistant", "tool", "function"):
        raise MalformedRequest(
            f"messages[{index}].role {message.get('role')!r} is not one of the API's roles"
        )
    text = _text_of(message.get("content"), f"messages[{index}].content")
    if role in ("tool", "function"):
        return Entry(role="tool", text=text, call_ids=(as_text(message.get("tool_call_id")),))
    calls = _list_of_objects(message, "tool_calls")
    functions = [as_object(call.get("function")) for call in calls]
    return Entry(
        role="system" if role == "developer" else role,
        text=text,
        calls=tuple((as_text(call.get("name")), as_text(call.get("arguments"))) for call in functions),
        call_ids=tuple(as_text(call.get("id")) for call in calls),
    )


def _response_entries(items: list[JsonObject]) -> Iterable[Entry]:
    parallel: list[JsonObject] = []
    for index, item in enumerate(items):
        kind = as_text(item.get("type")) or "message"
        if kind == "function_call":
            parallel.append(item)
            continue
        if parallel:
            yield _calls_entry(parallel)
            parallel = []
        if kind == "function_call_output":
            text = _text_of(item.get("output"), f"input[{index}].output")
            yield Entry(role="tool", text=text, call_ids=(as_text(item.get("call_id")),))
        elif kind == "message":
            yield _chat_entry(item, index)
    if parallel:
        yield _calls_entry(parallel)


def _calls_entry(items: list[JsonObject]) -> Entry:
    return Entry(
        role="assistant",
        calls=tuple((as_text(item.get("name")), as_text(item.get("arguments"))) for item in items),
        call_ids=tuple(as_text(item.get("call_id")) for item in items),
    )


def _text_of(content: object, where: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    if not isinstance(content, list):
        raise MalformedRequest(f"{where} must be a text or a list of parts")
    return "\n".join(as_text(as_object(part).get("text")) for part in as_list(cast(object, content)))


def _offered(functions: list[JsonObject]) -> tuple[OfferedTool, ...]:
    for index, function in enumerate(functions):
        if not as_text(function.get("name")):
            raise MalformedRequest(f"tools[{index}] has no function name")
    return tuple(
        OfferedTool(name=as_text(function.get("name")), parameters=as_object(function.get("parameters")))
        for function in functions
    )


def _tool_choice(value: object, functions: list[JsonObject]) -> str:
    if isinstance(value, str):
        if value not in ("auto", "none", "required"):
            raise MalformedRequest(f"tool_choice {value!r} is not 'auto', 'none' or 'required'")
        return value
    choice = as_object(value)
    name = as_text(as_object(choice.get("function")).get("name")) or as_text(choice.get("name"))
    if not name:
        return "auto"
    if name not in [function.get("name") for function in functions]:
        raise MalformedRequest(f"tool_choice names {name!r}, which 'tools' does not offer")
    return f"tool:{name}"


def _schema_in(holder: JsonObject) -> JsonObject:
    schema = holder.get("schema")
    if not isinstance(schema, dict):
        raise MalformedRequest("a response format of type 'json_schema' needs a 'schema'")
    return as_object(holder["schema"])
