"""Where a gateway is, and how guests that resolve no names find it."""

import pytest

from orchestrator_resources.gateway_urls import BadGatewayUrl, GatewayUrl


@pytest.mark.parametrize(
    ("text", "port", "name", "by_number"),
    [
        ("http://127.0.0.1:8900", 8900, None, "http://127.0.0.1:8900"),
        ("http://127.0.0.1/", 80, None, "http://127.0.0.1:80"),
        ("http://[::1]:8900", 8900, None, "http://[::1]:8900"),
        ("https://10.0.0.1", 443, None, "https://10.0.0.1:443"),
        ("https://gateway.platform", 443, "gateway.platform", "https://gateway.platform:443"),
    ],
)
def test_what_a_url_says(text: str, port: int, name: str | None, by_number: str) -> None:
    url = GatewayUrl.parse(text)
    assert (url.port, url.name, url.by_number()) == (port, name, by_number)


def test_a_name_is_resolved_for_those_who_cannot() -> None:
    url = GatewayUrl.parse("http://localhost:8900")
    assert url.name is None and url.by_number() in {"http://127.0.0.1:8900", "http://[::1]:8900"}


@pytest.mark.parametrize(
    "text", ["", "gateway:8900", "ftp://gateway", "http://", "http://g:0", "http://g:port", "http://g/v1"]
)
def test_what_is_none_is_refused(text: str) -> None:
    with pytest.raises(BadGatewayUrl, match="it must be such as http://gateway:8900, without /v1"):
        GatewayUrl.parse(text)
