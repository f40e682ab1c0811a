"""What tests in a browser share: one browser, and one marketplace with a few agents."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from tests.browser.served_marketplaces import ServedMarketplace, served_marketplace
from tests.browser.visitors import Visitor, browser, visiting

DOCUMENTATION = """\
# Reviewer

Reads a **licence** with a tool, and says what it asks for; see [its source](https://git.example/acme).

| input | what it is |
|---|---|
| `text` | the licence, as text |

- [x] knows SPDX
- is no lawyer &amp; gets it wrong

```python
print("a review")
```
"""


@pytest.fixture(scope="module")
def started() -> Iterator[Browser]:
    """A browser; each test has windows of its own.

    Of one file: its driver is a loop in this thread, in which no test of another file could run one.
    """
    with browser() as running:
        yield running


@pytest.fixture(scope="session")
def marketplace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServedMarketplace]:
    """A marketplace of three agents, of which one has two versions, a rating and a price, and one is deprecated."""
    with served_marketplace(tmp_path_factory.mktemp("marketplace")) as served:
        for who in ("acme", "alpha"):
            served.register(who)
        files = {"README.md": DOCUMENTATION}
        for version in ("1.0.0", "1.2.0"):
            priced = "{currency: EUR, per_execution: '0.05'}"
            summary = "'Reads a licence and says what it asks for'"
            served.publish(
                "reviewer", version, files, evaluated=True, summary=summary, pricing=priced, terms="Be kind."
            )
        served.publish("clock", "1.0.0", summary="'Tells the time'", licence="MIT")
        threshold = "{passed: 0, exact: 80}"
        summary = "'Sorts tickets by urgency'"
        served.publish(
            "triage", "1.0.0", evaluated=False, summary=summary, framework="agno", thresholds=threshold
        )
        served.act("acme", "deprecate", "clock", "1.0.0", reason="tells no seconds", replacement="acme/watch")
        served.act("alpha", "rate", "reviewer", "1.2.0", platform="alpha", stars=4, reason="fast")
        yield served


@pytest.fixture
def visitor(started: Browser, marketplace: ServedMarketplace) -> Iterator[Visitor]:
    """Somebody at the marketplace; whatever their browser complained of, or asked elsewhere, fails the test."""
    with visiting(started, marketplace.url) as opened:
        yield opened
        assert opened.complaints == [] and opened.strangers == []
