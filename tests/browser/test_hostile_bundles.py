"""What strangers publish is shown, and does nothing: bundles that were built, signed, pushed, checked and approved."""

import json
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

from tests.browser.served_marketplaces import ServedMarketplace, served_marketplace
from tests.browser.visitors import Visitor, visiting

SCRIPT = "<img src=x onerror=window.hacked=1><script>window.hacked=2</script><svg onload=window.hacked=3>"
DOCUMENTATION = f"""\
# {SCRIPT}

{SCRIPT}

<iframe srcdoc="<script>parent.hacked=4</script>"></iframe>
<a href="javascript:hacked=5" id=main>click</a> <form action="https://elsewhere.example"><button>send</button></form>
<style>body {{ display: none }}</style><base href="https://elsewhere.example/">

[script](javascript:window.hacked=6) [coded](&#x6A;avascript&colon;hacked=7) [data](data:text/html,<script>1</script>)
[spaced]( java
script:hacked=8) [file](file:///etc/passwd) [relative](//elsewhere.example/x) <javascript:hacked=9>

![picture](https://elsewhere.example/beacon.png) ![svg](data:image/svg+xml,<svg/onload=alert(1)>)

| {SCRIPT} |
|---|
| `{SCRIPT}` |

```html
{SCRIPT}
```

`\u202e gnp.exe` \u2066 and <b onmouseover=hacked=10>over</b>

[reference]: javascript:hacked=11
"""
TOOLS = json.dumps([{"name": "look<script>hacked=12</script>up", "description": SCRIPT}])
INPUTS = json.dumps(
    {
        "type": "object",
        "properties": {
            SCRIPT: {"type": "string"},
            "__proto__": {"type": "string"},
            'a"]}\n- b: {': {"type": "integer"},
            "\u2028c: 1": {"type": "string"},
        },
    }
)
CASE = json.dumps({"name": SCRIPT, "inputs": {}, "output": "text"}) + "\n"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedMarketplace]:
    with served_marketplace(tmp_path_factory.mktemp("hostile")) as served:
        for who in ("acme", "alpha"):
            served.register(who)
        plant(served)
        yield served


def plant(served: ServedMarketplace) -> None:
    served.publish(
        "hostile",
        "1.0.0",
        {"README.md": DOCUMENTATION, "evaluation.jsonl": CASE},
        summary=json.dumps(SCRIPT),
        tools=TOOLS,
        inputs=INPUTS,
        output="null",
        models=json.dumps(["<script>hacked=13</script>"]),
        terms=json.dumps(SCRIPT),
    )
    served.act("acme", "deprecate", "hostile", "1.0.0", reason=SCRIPT, replacement="javascript:hacked=14")
    served.act("alpha", "rate", "hostile", "1.0.0", platform="alpha", stars=1, reason=SCRIPT)


def harmless(visitor: Visitor) -> None:
    page = visitor.page
    assert page.evaluate("window.hacked") is None
    assert page.evaluate("Object.keys({}.__proto__)") == []
    made = page.evaluate("[...document.querySelectorAll('main *')].map((one) => one.localName)")
    assert not {"script", "img", "svg", "iframe", "style", "base", "object", "embed", "meta", "link"} & set(
        made
    )
    links = page.evaluate("[...document.querySelectorAll('a')].map((one) => one.href)")
    assert all(link.startswith((visitor.page.url.partition("/agents")[0], "http")) for link in links)
    assert visitor.complaints == [] and visitor.strangers == []


@pytest.mark.parametrize(
    "address",
    [
        "/?text=hostile",
        "/agents/acme/hostile",
        "/agents/acme/hostile/1.0.0",
        "/publish?name=acme/hostile&version=1.0.0",
    ],
)
def test_nothing_of_it_runs_or_reaches_out(
    started: Browser, hostile: ServedMarketplace, address: str
) -> None:
    with visiting(started, hostile.url) as visitor:
        page = visitor.page
        page.goto(address)
        expect(page.get_by_text("acme/hostile").first).to_be_visible()
        expect(page.get_by_text("onerror=window.hacked=1").first).to_be_visible()
        for one in page.locator("summary").all():
            one.click()
        page.wait_for_timeout(300)
        harmless(visitor)


def test_its_page_leads_nowhere_but_to_the_web(started: Browser, hostile: ServedMarketplace) -> None:
    with visiting(started, hostile.url) as visitor:
        page = visitor.page
        page.goto("/agents/acme/hostile")
        document = page.get_by_role("region", name="Documentation", exact=True)
        expect(document).to_contain_text("<iframe srcdoc=")
        links = {one.get_attribute("href") for one in document.get_by_role("link").all()}
        assert links == {"https://elsewhere.example/beacon.png"}
        for word in ("script", "coded", "data", "file", "relative"):
            expect(document.get_by_text(word, exact=True).first).to_be_visible()
        harmless(visitor)


def test_its_addresses_are_not_the_pages_own(started: Browser, hostile: ServedMarketplace) -> None:
    with visiting(started, hostile.url) as visitor:
        page = visitor.page
        for address in (
            "/?text=%3Cimg%20src%3Dx%20onerror%3Dwindow.hacked%3D1%3E&after=%3Cscript%3E",
            "/publish?name=%22%3E%3Cscript%3Ewindow.hacked%3D1%3C/script%3E&version=1",
            "/agents/acme/hostile?next=javascript:hacked=1#%3Cimg src=x onerror=hacked=1%3E",
        ):
            page.goto(address)
            page.wait_for_selector("main:not([aria-busy]) h1")
            harmless(visitor)


@pytest.mark.parametrize(
    ("agent", "documentation"),
    [
        ("deep", "> " * 5_000 + "end"),
        ("listed", "\n".join("  " * depth + "- x" for depth in range(400))),
        ("slow", "*a _b " * 30_000 + "[" * 20_000),
    ],
)
def test_markdown_that_would_hang_a_page_does_not(
    started: Browser, hostile: ServedMarketplace, agent: str, documentation: str
) -> None:
    hostile.submit(agent, "1.0.0", {"README.md": documentation})
    with visiting(started, hostile.url) as visitor:
        visitor.page.goto(f"/agents/acme/{agent}/1.0.0")
        expect(visitor.page.get_by_role("heading", level=1)).to_contain_text(f"acme/{agent}")
        expect(visitor.page.locator(".document")).to_be_visible()
        assert visitor.complaints == [] and visitor.strangers == []
