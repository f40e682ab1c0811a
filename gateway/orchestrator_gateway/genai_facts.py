"""What a model call's request and answer say of it, in the words of the GenAI semantic conventions; never its text.

The conventions: https://github.com/open-telemetry/semantic-conventions-genai, checked against the names in
opentelemetry-semantic-conventions 0.66b2.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from orchestrator_gateway.execution_reports import ExecutionReport
from orchestrator_gateway.journal import Answer
from orchestrator_gateway.tokens import Claims
from orchestrator_runtimes.json_values import Json, NotJson, parse

Attributes = dict[str, str | bool | int | float | Sequence[str]]

OPERATIONS: Final = {
    "/chat/completions": "chat",
    "/responses": "chat",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
}
"""`gen_ai.operation.name` of each endpoint."""

_REQUEST_NUMBERS: Final = {
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
}
_REQUEST_COUNTS: Final = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "max_output_tokens": "gen_ai.request.max_tokens",
    "seed": "gen_ai.request.seed",
}
_PROVIDERS: Final = {
    "openai.azure.com": "azure.ai.openai",
    "models.ai.azure.com": "azure.ai.inference",
    "services.ai.azure.com": "azure.ai.inference",
    "amazonaws.com": "aws.bedrock",
    "anthropic.com": "anthropic",
    "cohere.com": "cohere",
    "cohere.ai": "cohere",
    "deepseek.com": "deepseek",
    "generativelanguage.googleapis.com": "gcp.gemini",
    "aiplatform.googleapis.com": "gcp.vertex_ai",
    "groq.com": "groq",
    "ml.cloud.ibm.com": "ibm.watsonx.ai",
    "mistral.ai": "mistral_ai",
    "perplexity.ai": "perplexity",
    "x.ai": "x_ai",
}
_OUTPUT_TYPES: Final = {"json_object": "json", "json_schema": "json", "text": "text"}
_OPENAI: Final = "openai"
_NAME_CHARACTERS: Final = 200
_REASONS: Final = 16
_LONGEST_COUNT: Final = 2**53


def provider_name(base_url: str) -> str:
    """Return `gen_ai.provider.name` of an endpoint: by its host; of an unknown one, whose dialect it speaks."""
    host = urlsplit(base_url).hostname or ""
    return next(
        (
            name
            for domain, name in _PROVIDERS.items()
            if host == domain or host.endswith((f".{domain}", f"-{domain}"))
        ),
        _OPENAI,
    )


def server_attributes(base_url: str) -> Attributes:
    """Return provider, host and port of an endpoint."""
    return {"gen_ai.provider.name": provider_name(base_url), **_address(base_url)}


def _address(url: str) -> Attributes:
    address = urlsplit(url)
    if not address.hostname:
        return {}
    port = address.port or (443 if address.scheme == "https" else 80)
    return {"server.address": address.hostname, "server.port": port}


def request_attributes(path: str, body: Json) -> Attributes:
    """Return what a request asks for, without what it says."""
    asked = _map(body)
    found: Attributes = {"gen_ai.operation.name": OPERATIONS.get(path.partition("?")[0], "chat")}
    if isinstance(model := asked.get("model"), str) and model:
        found["gen_ai.request.model"] = model[:_NAME_CHARACTERS]
    for field, name in _REQUEST_NUMBERS.items():
        value = asked.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _LONGEST_COUNT:
            found[name] = float(value)
    for field, name in _REQUEST_COUNTS.items():
        value = asked.get(field)
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) < _LONGEST_COUNT:
            found[name] = value
    choices = asked.get("n")
    if isinstance(choices, int) and not isinstance(choices, bool) and 1 < choices < _LONGEST_COUNT:
        found["gen_ai.request.choice.count"] = choices
    if asked.get("stream") is True:
        found["gen_ai.request.stream"] = True
    if (kind := _output_type(asked)) is not None:
        found["gen_ai.output.type"] = kind
    return found


def _output_type(asked: Mapping[str, Json]) -> str | None:
    text = asked.get("text")
    form = asked.get("response_format") or (text.get("format") if isinstance(text, Mapping) else None)
    kind = form.get("type") if isinstance(form, Mapping) else None
    return {"json_object": "json", "json_schema": "json", "text": "text"}.get(
        kind if isinstance(kind, str) else ""
    )


def answer_attributes(answer: Answer) -> Attributes:
    """Return which model answered and how it ended; an answer that cannot be read has none."""
    found: Attributes = {}
    reasons: list[str] = []
    for part in _parts(answer):
        for field, name in (("id", "gen_ai.response.id"), ("model", "gen_ai.response.model")):
            value = part.get(field)
            if isinstance(value, str) and value:
                found.setdefault(name, value[:_NAME_CHARACTERS])
        reasons += _reasons(part)
    if reasons:
        found["gen_ai.response.finish_reasons"] = tuple(reasons[:_REASONS])
    return found


def usage_attributes(answer: Answer) -> Attributes:
    """Return the tokens of an answer; none where the endpoint told none."""
    usage = answer.usage
    if usage is None:
        return {}
    found: Attributes = {
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
    }
    if usage.cached_tokens:
        found["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
    return found


def whose_attributes(claims: Claims) -> Attributes:
    """Return whose a call is, as its token says."""
    found: Attributes = {
        "gen_ai.agent.id": claims.agent,
        "orchestrator.tenant": claims.tenant,
        "orchestrator.execution": claims.execution,
        "orchestrator.attempt": claims.attempt,
    }
    named = {
        "orchestrator.run": claims.run,
        "gen_ai.agent.name": claims.name,
        "orchestrator.location": claims.location,
    }
    return found | {name: value for name, value in named.items() if value}


def tool_attributes(url: str, tool: str) -> Attributes:
    """Return what a call of a tool of an MCP server is, without its arguments."""
    found: Attributes = {
        "mcp.method.name": "tools/call",
        "gen_ai.operation.name": "execute_tool",
        "gen_ai.tool.name": tool[:_NAME_CHARACTERS],
    }
    return found | _address(url)


def execution_attributes(tenant: str, report: ExecutionReport) -> Attributes:
    """Return what an execution was, without its inputs and its output."""
    usage = report.usage
    found: Attributes = {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.provider.name": _OPENAI,  # the dialect of all calls; who answered them stands in their own spans
        "gen_ai.output.type": "json" if report.structured else "text",
        "gen_ai.usage.input_tokens": usage.input_tokens,
        "gen_ai.usage.output_tokens": usage.output_tokens,
        "orchestrator.tenant": tenant,
        "orchestrator.execution": report.execution,
        "orchestrator.framework": report.framework,
        "orchestrator.model_calls": usage.model_calls,
        "orchestrator.tool_calls": usage.tool_calls,
    }
    named = {
        "gen_ai.agent.id": report.agent,
        "gen_ai.agent.name": report.name,
        "gen_ai.conversation.id": report.session,
        "error.type": report.error,
        "orchestrator.finish_reason": report.finish_reason,
        "orchestrator.location": report.location,
        "orchestrator.run": report.run,
    }
    if usage.cached_tokens:
        found["gen_ai.usage.cache_read.input_tokens"] = usage.cached_tokens
    return found | {name: value for name, value in named.items() if value}


def _parts(answer: Answer) -> Iterator[Mapping[str, Json]]:
    """Yield the objects of an answer: one, or those of a stream's events."""
    if not answer.content_type.startswith("text/event-stream"):
        yield from _object(answer.body)
        return
    for line in answer.body.splitlines():
        if line.startswith(b"data:") and line[5:].strip() != b"[DONE]":
            yield from _object(line[5:])


def _object(text: bytes) -> Iterator[Mapping[str, Json]]:
    try:
        value = parse(text)
    except NotJson:
        return
    if isinstance(value, Mapping):
        response = value.get("response")  # an event of the responses dialect
        yield response if isinstance(response, Mapping) else value


def _reasons(part: Mapping[str, Json]) -> Iterator[str]:
    choices = part.get("choices")
    for choice in map(_map, choices if isinstance(choices, list | tuple) else ()):
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            yield reason[:_NAME_CHARACTERS]
    status = part.get("status")
    if part.get("object") == "response" and status in ("completed", "incomplete", "failed", "cancelled"):
        yield str(status)


def _map(value: Json) -> Mapping[str, Json]:
    return value if isinstance(value, Mapping) else {}
