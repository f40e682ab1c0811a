"""Dagster's own pages in a browser, of somebody of one tenant beside another: their own is there, and nothing else."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Error, Page, Response, WebSocket, expect

from tests.browser.tenant_sites import TenantSite, tenant_site
from tests.browser.visitors import Visitor, visiting
from tests.integration.postgres_servers import postgres_server
from tests.integration.tenant_locations import LOCATIONS
from tests.integration.tenant_plants import REPOSITORY

# of Dagster, whose server answers an error where a warning is one
pytestmark = pytest.mark.filterwarnings("ignore")
PATIENCE_MS = 30_000
LOCATION = f"/locations/{REPOSITORY}@{LOCATIONS['alpha']}"

PAGES = {
    "/runs": "alpha__job",
    "/assets": "alpha / orders",
    "/assets/alpha/orders": "canary-3f9a1c",
    "/asset-groups": "alpha__group",
    "/deployment/locations": "1 code location",
    "/deployment/daemons": "Daemon statuses",
    "/deployment/concurrency": "alpha__pool",
    "/jobs": "alpha__job",
    "/automation": "alpha__schedule",
    LOCATION: "Loaded",
    f"{LOCATION}/jobs/alpha__job": "canary-3f9a1c",
}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TenantSite]:
    with postgres_server() as server, tenant_site(tmp_path_factory.mktemp("site"), server.database()) as made:
        yield made


@dataclass
class Heard:
    """What a browser was sent: answers, and messages of websockets."""

    responses: list[Response] = field(default_factory=list[Response])
    messages: list[str] = field(default_factory=list[str])

    def listen(self, page: Page) -> None:
        page.on("response", self._answered)
        page.on("websocket", self._opened)

    def _answered(self, response: Response) -> None:
        self.responses.append(response)

    def _opened(self, socket: WebSocket) -> None:
        socket.on("framereceived", lambda message: self.messages.append(str(message)))

    def answers(self) -> str:
        """Return the texts of all answers to questions so far, and begin anew."""
        found: list[str] = []
        for one in self.responses:
            if urlsplit(one.url).path == "/graphql" and one.ok:
                # one that was on its way when its page was left was shown to nobody
                with contextlib.suppress(Error):
                    found.append(one.text())
        self.responses.clear()
        return "\n".join(found)


@pytest.fixture
def visitor(started: Browser, site: TenantSite) -> Iterator[Visitor]:
    with visiting(started, site.url, viewport={"width": 1280, "height": 800}) as opened:
        opened.knows(site.issuer)
        yield opened
        assert opened.complaints == [] and opened.strangers == []


def sign_in(page: Page, at: str) -> None:
    page.goto(at)
    assert page.inner_text("body") == "who are you?"
    page.goto(f"{page.url}?name=bob")


def test_each_page_shows_ones_own_and_nothing_of_others(visitor: Visitor, site: TenantSite) -> None:
    page, heard, said = visitor.page, Heard(), ""
    heard.listen(page)
    sign_in(page, "/runs")
    for address, shown in PAGES.items():
        page.goto(address)
        expect(page.get_by_text(shown).first).to_be_visible(timeout=PATIENCE_MS)
        text, answers = page.content(), heard.answers()
        for foreign in (site.others.secret, site.others.run, site.others.location, "beta__"):
            assert foreign not in text and foreign not in answers, (address, foreign)
        told = page.locator("[data-sonner-toast], [role=dialog], [role=alert]").all_inner_texts()
        assert [one for one in told if one.strip()] == [], address
        said += answers
    assert site.mine.secret in said and site.mine.run in said


def test_what_is_anothers_is_as_if_it_were_not_there(visitor: Visitor, site: TenantSite) -> None:
    page = visitor.page
    sign_in(page, f"/runs/{site.others.run}")
    expect(page.get_by_text("No run found")).to_be_visible(timeout=PATIENCE_MS)
    for address in (f"/locations/{REPOSITORY}@{site.others.location}/jobs/beta__job", "/assets/beta/people"):
        page.goto(address)
        expect(page.get_by_role("link", name="Bob · alpha")).to_be_visible(timeout=PATIENCE_MS)
        page.wait_for_timeout(3_000)  # the same page of one's own tells its secret by then
        assert site.others.secret not in page.content()


def test_what_a_run_does_is_seen_as_it_happens(visitor: Visitor, site: TenantSite) -> None:
    page, heard = visitor.page, Heard()
    heard.listen(page)
    sign_in(page, f"/runs/{site.mine.run}")
    expect(page.get_by_text("alpha__job").first).to_be_visible(timeout=PATIENCE_MS)
    for run, words in (
        (site.mine.run, "planted while it was looked at"),
        (site.others.run, "planted elsewhere"),
    ):
        found = site.web.instance.get_run_by_id(run)
        assert found is not None
        site.web.instance.report_engine_event(words, found)
    for _ in range(PATIENCE_MS // 200):
        if any("planted while" in message for message in heard.messages):
            break
        page.wait_for_timeout(200)
    assert any("planted while" in message for message in heard.messages)
    assert not any("planted elsewhere" in message for message in heard.messages)


def test_the_link_says_who_one_is_and_leads_out(visitor: Visitor, site: TenantSite) -> None:
    page = visitor.page
    sign_in(page, "/assets")
    page.get_by_role("link", name="Bob · alpha").click()
    assert page.url.endswith("/sign-in/tenant")
    expect(page.locator("body")).to_contain_text("alpha")
    page.get_by_role("button", name="Sign out", exact=True).click()
    expect(page.get_by_text("Sign out of the provider, too")).to_be_visible()
    assert not [one for one in page.context.cookies(site.url) if one.get("name") == "orchestrator-session"]
