"""Known weaknesses of packages are found in a mirror of OSV records, by version, and none is lost to a bad record."""

import json
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator_marketplace.advisories import RECORD_BYTES, scan
from orchestrator_marketplace.locked_packages import Package
from orchestrator_marketplace.osv_records import Affected, Event, Range
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.severities import Severity, base_score, severity_of_score
from orchestrator_marketplace.version_ranges import is_affected, semantic_key

REQUESTS = Package(ecosystem="PyPI", name="requests", version="2.31.0")
WS = Package(ecosystem="npm", name="ws", version="8.17.0")


def record(
    id: str = "GHSA-1", name: str = "Requests", ecosystem: str = "PyPI", **more: Any
) -> dict[str, Any]:
    affected = {
        "package": {"ecosystem": ecosystem, "name": name, "purl": "x"},
        "ranges": [{"type": "ECOSYSTEM", "events": [{"introduced": "0"}, {"fixed": "2.32.0"}]}],
    }
    told = {"id": id, "modified": "2026-05-01T00:00:00Z", "affected": [affected], "schema_version": "1.7.0"}
    return {**told, "database_specific": {"severity": "MODERATE"}, **more}


def mirror(folder: Path, *records: dict[str, Any]) -> Path:
    for number, one in enumerate(records):
        file = folder / "PyPI" / f"{number}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(one))
    return folder


def test_a_weakness_is_found(tmp_path: Path) -> None:
    found = scan(
        (REQUESTS, WS), mirror(tmp_path, record(summary="Leaks", aliases=["CVE-1"]), record("X", "other"))
    )
    (weakness,) = found.weaknesses
    assert (weakness.advisory, weakness.package, weakness.severity) == ("GHSA-1", REQUESTS, Severity.MEDIUM)
    assert (weakness.summary, weakness.aliases) == ("Leaks", ("CVE-1",))
    assert found.records == 2 and found.newest is not None and found.newest.year == 2026
    fixed = Package(ecosystem="PyPI", name="requests", version="2.32.0")
    assert scan((fixed,), tmp_path).weaknesses == ()


def test_a_mirror_may_be_zipped_and_npm_counts(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        ranges = [{"type": "SEMVER", "events": [{"introduced": "8.0.0"}, {"last_affected": "8.17.0"}]}]
        affected = {"package": {"ecosystem": "npm", "name": "ws"}, "ranges": ranges}
        archive.writestr("a/1.json", json.dumps(record(affected=[affected], database_specific={})))
        archive.writestr("readme.txt", "x")
    (weakness,) = scan((REQUESTS, WS), tmp_path).weaknesses
    assert (weakness.package, weakness.severity) == (WS, Severity.UNKNOWN)


def test_withdrawn_and_other_ecosystems_do_not_count(tmp_path: Path) -> None:
    others = (
        record(withdrawn="2026-01-01T00:00:00Z"),
        record(ecosystem="crates.io"),
        record(affected=[{"ranges": [{"type": "GIT", "events": [{"introduced": "0"}]}]}]),
    )
    assert scan((REQUESTS,), mirror(tmp_path, *others)).weaknesses == ()


def test_of_aliases_one_counts_that_says_how_bad_it_is(tmp_path: Path) -> None:
    records = (
        record("PYSEC-1", aliases=["CVE-1"], database_specific={}),
        record("GHSA-1", aliases=["CVE-1"], database_specific={"severity": "HIGH"}),
        record("GHSA-2", aliases=["CVE-2"], database_specific={"severity": "LOW"}),
    )
    found = scan((REQUESTS,), mirror(tmp_path, *records)).weaknesses
    assert [(one.advisory, one.severity) for one in found] == [
        ("GHSA-1", Severity.HIGH),
        ("GHSA-2", Severity.LOW),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "{}",
        "[]",
        '{"id": "a", "modified": "soon"}',
        '{"id": "a", "modified": 5}',
        '{"id": "a", "modified": "2026-01-01", "affected": 5}',
        '{"modified": "2026-01-01", "affected": [{"package": {"ecosystem": "PyPI", "name": "requests"}}]}',
        '{"id": "a", "modified": "2026-01-01", "affected": [{"package": 1}]}',
    ],
)
def test_a_record_that_cannot_be_read_is_not_passed_over(text: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(BundleRefused, match=r"a\.json: is no record of OSV") as refused:
        scan((REQUESTS,), tmp_path)
    assert refused.value.refusal is Refusal.POLICY


def test_a_mirror_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(BundleRefused, match="is no folder of advisories"):
        scan((REQUESTS,), tmp_path / "nowhere")
    assert scan((REQUESTS,), tmp_path).newest is None
    (tmp_path / "all.zip").write_bytes(b"x")
    with pytest.raises(BundleRefused, match=r"all\.zip: cannot be read"):
        scan((REQUESTS,), tmp_path)
    with zipfile.ZipFile(tmp_path / "all.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.json", b" " * (RECORD_BYTES + 1))
    with pytest.raises(BundleRefused, match=r"all\.zip: cannot be read") as refused:
        scan((REQUESTS,), tmp_path)
    assert "longer than" in str(refused.value.cause)


@pytest.mark.parametrize(
    ("vector", "score", "severity"),
    [  # examples of the specification's own document
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H", 9.8, Severity.CRITICAL),
        ("CVSS:3.0/AV:N/AC:L/PR:N/UI:N/S:C/C:H/I:H/A:H", 10.0, Severity.CRITICAL),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N", 6.1, Severity.MEDIUM),
        ("CVSS:3.1/AV:N/AC:L/PR:L/UI:N/S:C/C:L/I:L/A:N", 6.4, Severity.MEDIUM),
        ("CVSS:3.1/AV:N/AC:H/PR:N/UI:R/S:U/C:L/I:N/A:N", 3.1, Severity.LOW),
        ("CVSS:3.1/AV:L/AC:L/PR:H/UI:N/S:U/C:L/I:L/A:L", 4.2, Severity.MEDIUM),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", 7.5, Severity.HIGH),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:N/I:N/A:N", 0.0, Severity.NONE),
        ("CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:N", None, Severity.UNKNOWN),
        ("CVSS:3.1/AV:X/AC:L/PR:N/UI:N/S:U/C:H/I:N/A:N", None, Severity.UNKNOWN),
        ("CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N", None, Severity.UNKNOWN),
        ("", None, Severity.UNKNOWN),
    ],
)
def test_a_vector_has_a_score(vector: str, score: float | None, severity: Severity) -> None:
    assert base_score(vector) == score
    assert severity_of_score(score) is severity


def test_a_vector_counts_where_no_word_is(tmp_path: Path) -> None:
    vector = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]
    (weakness,) = scan(
        (REQUESTS,), mirror(tmp_path, record(severity=vector, database_specific={}))
    ).weaknesses
    assert weakness.severity is Severity.CRITICAL


def in_range(version: str, *events: Event, ecosystem: str = "PyPI", versions: tuple[str, ...] = ()) -> bool:
    kind = "SEMVER" if ecosystem == "npm" else "ECOSYSTEM"
    ranges = (Range(type=kind, events=events),) if events else ()
    package = Package(ecosystem="npm" if ecosystem == "npm" else "PyPI", name="x", version=version)
    return is_affected(package, Affected(ranges=ranges, versions=versions))


def test_ranges_open_and_close() -> None:
    events = (
        Event(introduced="2.0"),
        Event(fixed="2.5"),
        Event(introduced="3.0rc1"),
        Event(last_affected="3.1"),
    )
    versions = ("1.9", "2.0", "2.4.9", "2.5", "2.9", "3.0rc1", "3.1", "3.1.1", "4")
    assert [one for one in versions if in_range(one, *events)] == ["2.0", "2.4.9", "3.0rc1", "3.1"]


def test_what_cannot_be_told_is_affected() -> None:
    assert in_range("1.0"), "no versions at all: such as a package that is malicious as a whole"
    assert in_range("1.0", Event(introduced="not a version"))
    assert in_range("1", ecosystem="npm", versions=("2.0.0",))
    assert in_range("1.0.0", versions=("1.0",)) and not in_range("1.0.1", versions=("1.0",))


def test_semantic_versions_are_ordered_as_the_specification_says() -> None:
    before = ("alpha", "alpha.1", "alpha.beta", "beta", "beta.2", "beta.11", "rc.1")
    keys = [semantic_key(text) for text in (*(f"1.0.0-{one}" for one in before), "1.0.0")]
    assert None not in keys and keys == sorted(keys, key=lambda key: key or ())
    assert semantic_key("1.0.0+build") == semantic_key("1.0.0") == semantic_key("v1.0.0")
    assert semantic_key("1.0") is None


numbers = st.integers(0, 20)


@given(st.lists(st.tuples(numbers, numbers), min_size=2, max_size=2, unique=True), numbers, numbers)
def test_a_range_is_half_open(bounds: list[tuple[int, int]], major: int, minor: int) -> None:
    low, high = sorted(bounds)
    events = (Event(fixed=f"{high[0]}.{high[1]}.0"), Event(introduced=f"{low[0]}.{low[1]}.0"))
    for ecosystem in ("PyPI", "npm"):
        affected = in_range(f"{major}.{minor}.0", *events, ecosystem=ecosystem)
        assert affected == (low <= (major, minor) < high)
