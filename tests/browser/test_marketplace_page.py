"""The marketplace's page, as people see it: with the keyboard alone, in the dark, when the service is away."""

import re
from pathlib import Path

import httpx
import pytest
import yaml
from playwright.sync_api import Browser, Error, expect

from orchestrator_marketplace.page_server import ADDRESSES
from orchestrator_sensors import PublishedAgentComponent
from tests.browser.served_marketplaces import ServedMarketplace
from tests.browser.visitors import Visitor, visiting

VIEWS = {
    "search": "/",
    "agent": "/agents/acme/reviewer",
    "deprecated": "/agents/acme/clock/1.0.0",
    "evaluated": "/agents/acme/triage",
    "publish": "/publish?name=acme/clock&version=1.0.0",
}


def test_agents_are_found_by_words_and_facts_with_the_keyboard_alone(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/")
    expect(page.get_by_role("status")).to_have_text("3 agents")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="To the content")).to_be_focused()
    for _ in range(4):
        page.keyboard.press("Tab")
    expect(page.get_by_label("Words")).to_be_focused()
    page.keyboard.type("LICENCE asks")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("1 agent")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    result = page.locator(".results li")
    expect(result).to_contain_text("acme/reviewer 1.2.0 published")
    expect(result).to_contain_text("EUR 0.05 per execution")
    expect(result).to_contain_text("4 of 5, by 1 platform")
    assert page.url.endswith("/?text=LICENCE+asks")
    page.go_back()
    expect(page.get_by_role("status")).to_have_text("3 agents")
    for label, value, found in (
        ("Framework", "agno", "acme/triage"),
        ("Licence", "MIT", "acme/clock"),
    ):
        page.get_by_label(label).fill(value)
        page.get_by_role("button", name="Search").click()
        expect(page.get_by_role("status")).to_have_text("1 agent")
        expect(page.locator(".results li")).to_contain_text(found)
        page.get_by_label(label).fill("")
    page.get_by_label("Publisher").fill("globex")
    page.keyboard.press("Enter")
    expect(page.get_by_role("status")).to_have_text("Nothing is found.")


def test_results_have_pages(visitor: Visitor) -> None:
    page = visitor.page
    # the page asks for twenty; the service is asked for two
    page.route("**/v1/bundles?*", lambda route: route.continue_(url=f"{route.request.url}&limit=2"))
    page.goto("/?publisher=acme")
    expect(page.locator(".results li")).to_have_count(2)
    page.get_by_role("link", name="Next page").click()
    expect(page.locator(".results li")).to_have_count(1)
    expect(page.locator(".results li")).to_contain_text("acme/triage")
    expect(page.get_by_role("link", name="Next page")).to_have_count(0)
    page.get_by_role("link", name="First page").click()
    expect(page.locator(".results li")).to_have_count(2)


def test_an_agents_page_tells_what_is_known_of_it(visitor: Visitor, marketplace: ServedMarketplace) -> None:
    page = visitor.page
    page.goto("/")
    page.get_by_role("link", name="acme/reviewer").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("acme/reviewer 1.2.0 published")
    document = page.get_by_role("region", name="Documentation")
    expect(document.get_by_role("heading", name="Reviewer")).to_be_visible()
    expect(document.get_by_role("link", name="its source")).to_have_attribute(
        "rel", "noopener noreferrer nofollow ugc"
    )
    expect(document).to_contain_text("is no lawyer & gets it wrong")
    expect(document.get_by_role("cell", name="the licence, as text")).to_be_visible()
    for section, words in {
        "What it is": ("langgraph", "Apache-2.0", "512 MiB", "EUR 0.05 per execution", "4 of 5"),
        "What it asks for": ("mcp:orders", "sessions", "Looks up", "changes something"),
        "Signature and provenance": ("Signed by", "Holds until", "https://git.example/acme/agents"),
        "Keys of the publisher": ("SHA-256", "BEGIN PUBLIC KEY"),
        "Checks": ("2 packages, 1 evaluation cases", "Bill of materials: 2 packages"),
        "Terms": ("Be kind.",),
        "Ratings": ("alpha", "fast"),
        "Versions and events": ("1.0.0", "approve", "review"),
    }.items():
        region = page.get_by_role("region", name=section, exact=True)
        for word in words:
            expect(region).to_contain_text(word)
    page.get_by_text("Bill of materials").click()
    expect(page.get_by_role("cell", name="requests")).to_be_visible()
    page.get_by_role("link", name="1.0.0").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("acme/reviewer 1.0.0 published")
    page.goto("/agents/acme/clock")
    note = page.get_by_role("note")
    expect(note).to_contain_text("tells no seconds")
    expect(note.get_by_role("link")).to_have_attribute("href", "/agents/acme/watch")


def test_what_an_evaluation_came_to_is_shown_as_the_publishers_word(visitor: Visitor) -> None:
    page = visitor.page
    checks = page.get_by_role("region", name="Checks", exact=True)

    def rows() -> list[list[str]]:
        expect(checks).to_be_visible()
        table = checks.get_by_role("table", name="What is measured of the cases")
        return [row.get_by_role("cell").all_inner_texts() for row in table.get_by_role("row").all()[1:]]

    page.goto("/agents/acme/reviewer")
    expect(checks).to_contain_text("Its publisher evaluated it: passed.")
    assert rows() == [
        ["passed", "1 of 1", "100 %", "reached"],
        ["completed", "1 of 1", "", ""],
        ["exact", "1 of 1", "", ""],
    ]
    expect(checks).to_contain_text("the marketplace runs no agent")
    page.goto("/agents/acme/triage")
    expect(checks).to_contain_text("Its publisher evaluated it: failed.")
    assert ["exact", "0 of 1", "80 %", "missed"] in rows()
    checks.get_by_text("Evaluation cases: 1, of which 1 failed").click()
    expect(checks.get_by_role("listitem").filter(has_text="one")).to_have_text("one failed")
    page.goto("/agents/acme/clock")
    expect(checks).to_contain_text("Evaluation cases: 1")
    expect(checks).not_to_contain_text("evaluated")


def test_a_publisher_is_told_how_usage_is_read_where_it_is_reported(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/agents/acme/reviewer")
    expect(page.get_by_role("region", name="Versions and events")).to_be_visible()
    offered = page.get_by_role("region", name="Usage").count()
    routes = httpx.get(page.url.replace("/agents/acme/reviewer", "/openapi.json")).json()["paths"]
    assert offered == ("/v1/usage/questions" in routes)
    page.route("**/openapi.json", lambda route: route.fulfill(json={"paths": {"/v1/usage/questions": {}}}))
    page.reload()
    expect(page.get_by_role("region", name="command of the publisher")).to_contain_text(
        "orchestrator usage received acme --key acme.key --at http://"
    )


@pytest.mark.filterwarnings("ignore:`parse_obj_as` is deprecated")  # Dagster's own
def test_what_the_page_says_to_write_is_an_asset(
    visitor: Visitor, marketplace: ServedMarketplace, tmp_path: Path
) -> None:
    page = visitor.page
    page.goto("/agents/acme/reviewer")
    for name in ("defs.yaml", "trust.yaml", "acme.pub"):
        (tmp_path / name).write_text(page.get_by_role("region", name=name).inner_text())
    written = yaml.safe_load((tmp_path / "defs.yaml").read_text())
    assert written["type"] == "orchestrator_sensors.PublishedAgentComponent"
    made = PublishedAgentComponent.resolve_from_dict(written["attributes"]).made_in(tmp_path)
    keys = {spec.key.to_user_string() for spec in made.resolve_all_asset_specs()}
    assert "acme/reviewer" in keys
    assert written["attributes"]["marketplace"] == marketplace.url
    assert written["attributes"]["inputs"] == {"text": {"value": "…"}}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_keeps_people_from_reading_it(
    started: Browser, marketplace: ServedMarketplace, scheme: str
) -> None:
    with visiting(started, marketplace.url, color_scheme=scheme) as visitor:
        for view, address in VIEWS.items():
            visitor.page.goto(address)
            visitor.page.wait_for_selector("main:not([aria-busy]) h1")
            assert visitor.accessibility() == [], view


def test_it_fits_a_telephone(started: Browser, marketplace: ServedMarketplace) -> None:
    with visiting(started, marketplace.url, viewport={"width": 360, "height": 700}) as visitor:
        for view, address in VIEWS.items():
            visitor.page.goto(address)
            visitor.page.wait_for_selector("main:not([aria-busy]) h1")
            assert visitor.page.evaluate("document.documentElement.scrollWidth") <= 360, view


def test_a_service_that_is_away_is_told_and_asked_again(
    started: Browser, marketplace: ServedMarketplace
) -> None:
    with visiting(started, marketplace.url) as visitor:
        page = visitor.page
        page.goto("/publish")
        page.route("**/v1/**", lambda route: route.abort())
        page.get_by_role("link", name="Search").click()
        expect(page.get_by_role("alert")).to_contain_text("does not answer")
        page.unroute_all()
        page.get_by_role("button", name="Try again").click()
        expect(page.get_by_role("status")).to_have_text("3 agents")
        for address, said in (
            ("/agents/acme/none", "there is no 'acme/none' here"),
            ("/agents/acme/No%20Name", "must be publisher/agent"),
        ):
            page.goto(address)
            expect(page.get_by_role("alert")).to_contain_text(said)


def test_the_browser_refuses_what_the_page_never_does(
    started: Browser, marketplace: ServedMarketplace
) -> None:
    with visiting(started, marketplace.url) as visitor:
        visitor.page.goto("/")
        for attempt in (
            "document.body.innerHTML = '<img src=x onerror=alert(1)>'",
            "document.createElement('script').text = 'alert(1)'",
            "trustedTypes.createPolicy('other', {})",
        ):
            with pytest.raises(Error, match="TypeError"):
                visitor.page.evaluate(attempt)
        visitor.page.evaluate(
            "document.body.append(Object.assign(new Image(), {src: 'http://elsewhere.example/x'}))"
        )
        visitor.page.wait_for_timeout(200)
        assert any("violates the following Content Security Policy" in said for said in visitor.complaints)


def test_files_and_addresses_are_served_with_their_policy(marketplace: ServedMarketplace) -> None:
    with httpx.Client(base_url=marketplace.url) as client:
        document = client.get("/")
        assert all(
            client.get(re.sub("{.*?}", "x", address)).content == document.content for address in ADDRESSES
        )
        named = re.findall(r'(?:href|src)="(/page/[^"]+)"', document.text)
        assert len(named) == 3
        for path in (*named, "/page/markdown.js", "/page/markdown.LICENSE.txt"):
            answer = client.get(path)
            assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff"
            assert "default-src 'none'" in answer.headers["content-security-policy"]
            again = client.get(path, headers={"if-none-match": answer.headers["etag"]})
            assert (again.status_code, again.content) == (304, b"")
        assert client.get("/page/index.html").status_code == 404
        told = client.get("/page/marketplace.json").json()
        assert told == {"name": marketplace.name, "registries": [marketplace.registry]}
