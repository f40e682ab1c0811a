"""From a built bundle to its publish, as the page says it: its check, its commands, its live state."""

import shlex
import shutil
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.served_marketplaces import ServedMarketplace
from tests.browser.visitors import Visitor
from tests.integration.command_lines import succeeds


def test_its_commands_lead_to_a_publish_that_is_seen_as_it_happens(
    visitor: Visitor, marketplace: ServedMarketplace, tmp_path: Path
) -> None:
    page = visitor.page
    page.goto("/publish")
    begin = page.get_by_role("region", name="commands that begin and build one").inner_text()
    for line in begin.replace("acme/clock", "acme/teller").replace(" clock", " teller").splitlines()[:2]:
        succeeds(*shlex.split(line), folder=tmp_path)
    shutil.copy(marketplace.folder / "acme.key", tmp_path / "acme.key")
    layout = tmp_path / "teller" / "dist"
    page.get_by_label("The folder that was built").set_input_files(layout)
    findings = page.locator(".findings")
    expect(findings).to_contain_text("good: acme/teller 0.1.0, sha256:")
    expect(findings).to_contain_text("good: code:")
    expect(findings).to_contain_text("not yet: a signature is beside it")
    expect(page.get_by_label("Name, publisher/agent")).to_have_value("acme/teller")
    expect(page.get_by_text("The publisher acme is registered, with 1 key.")).to_be_visible()
    expect(page.get_by_text("It was not submitted yet.")).to_be_visible()
    page.get_by_label("Folder of the built bundle").fill("teller/dist")
    page.get_by_label("File of your key").fill("acme.key")
    said = page.get_by_role("region", name="commands that sign, push and submit it").inner_text()
    commands = [shlex.split(line) for line in said.splitlines()]
    assert [words[2] for words in commands] == ["sign", "push", "submit"]
    for words in commands:
        succeeds(*words, folder=tmp_path)
    expect(page.get_by_text("acme/teller 0.1.0 is review")).to_be_visible()
    expect(page.locator(".way [aria-current=step]")).to_have_text("review")
    marketplace.act("operator", "reject", "teller", "0.1.0", reason="say more in README.md")
    expect(page.get_by_text("acme/teller 0.1.0 is draft")).to_be_visible()
    expect(page.get_by_text("say more in README.md")).to_be_visible()
    succeeds(*commands[2], folder=tmp_path)
    expect(page.get_by_text("acme/teller 0.1.0 is review")).to_be_visible()
    marketplace.act("operator", "approve", "teller", "0.1.0")
    expect(page.get_by_text("acme/teller 0.1.0 is published")).to_be_visible()
    page.get_by_label("The folder that was built").set_input_files(layout)
    expect(findings).to_contain_text("good: a signature is beside it")
    page.get_by_role("link", name="Its page").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("acme/teller 0.1.0 published")
    marketplace.act("acme", "withdraw", "teller", "0.1.0")


def test_what_is_no_whole_bundle_is_said_before_anything_is_sent(
    visitor: Visitor, marketplace: ServedMarketplace, tmp_path: Path
) -> None:
    page = visitor.page
    page.goto("/publish")
    marketplace.submit("sorter", "0.1.0", {})
    built = max(
        (path for path in marketplace.folder.iterdir() if path.name.isdigit()), key=lambda p: int(p.name)
    )
    blobs = "blobs/sha256"
    files = page.get_by_label("The folder that was built")
    findings = page.locator(".findings")
    tampered = Path(shutil.copytree(built / "dist", tmp_path / "tampered"))
    code = max((tampered / blobs).iterdir(), key=lambda path: path.stat().st_size)
    content = code.read_bytes()
    code.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    files.set_input_files(tampered)
    expect(findings).to_contain_text("not yet: code: the bytes are not those of sha256:")
    code.unlink()
    files.set_input_files(tampered)
    expect(findings).to_contain_text("not yet: code: sha256:")
    (tampered / "index.json").write_text("{")
    files.set_input_files(tampered)
    expect(findings).to_contain_text("not yet: index.json is no JSON")
    (tampered / "index.json").write_text('{"manifests": []}')
    files.set_input_files(tampered)
    expect(findings).to_contain_text("the layout has 0 bundles, and must have one")
    (tampered / "oci-layout").unlink()
    files.set_input_files(tampered)
    expect(findings).to_contain_text("the folder is no OCI image layout")


def test_an_address_fills_it_in_and_strangers_are_told_to_register(visitor: Visitor) -> None:
    page = visitor.page
    page.goto("/publish")
    expect(page.get_by_text("The commands stand here when name and version are known.")).to_be_visible()
    page.get_by_label("Address").fill("elsewhere.example/x/globex/it-s:1.0.0")
    expect(page.get_by_label("Registry")).to_have_value("elsewhere.example/x")
    expect(page.get_by_role("alert")).to_contain_text("this registry is none of them")
    expect(page.get_by_text("The publisher globex is not registered.")).to_be_visible()
    page.get_by_label("File of your key").fill("my key; rm -rf '/'")
    said = page.get_by_role("region", name="commands that sign, push and submit it").inner_text()
    assert shlex.split(said.splitlines()[0])[-1] == "my key; rm -rf '/'"
