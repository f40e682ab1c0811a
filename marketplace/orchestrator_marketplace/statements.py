"""What is signed of a bundle: that its publisher publishes it, until when, and how it came about. in-toto statements.

https://github.com/in-toto/attestation/blob/v1.1.1/spec/v1/statement.md, https://slsa.dev/spec/v1.1/provenance
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, cast

from orchestrator_marketplace.bundle_artifacts import CODE_TYPE, LOCK_TYPE, PARTS, Bundle
from orchestrator_marketplace.oci import digest_of
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_runtimes.json_values import Json, NotJson, dump, parse

STATEMENT: Final = "https://in-toto.io/Statement/v1"
_STATEMENTS: Final = frozenset({STATEMENT, "https://in-toto.io/Statement/v0.1"})
"""`cosign attest` still writes the older one, which says the same."""
SIGNATURE: Final = "https://sigstore.dev/cosign/sign/v1"
"""What cosign calls a signature; `cosign verify` takes ours."""
PROVENANCE: Final = "https://slsa.dev/provenance/v1"
EVALUATION: Final = "https://in-toto.io/attestation/test-result/v0.1"
BUILD: Final = "urn:agent-orchestrator:bundle-build:v1"


@dataclass(frozen=True, kw_only=True)
class Statement:
    """What somebody says of an artifact.

    Attributes:
        subject: `sha256:…` of the artifact.
        kind: What it is about: `SIGNATURE`, `PROVENANCE`, `EVALUATION`.
        predicate: What it says.
    """

    subject: str
    kind: str
    predicate: Mapping[str, Json]

    def to_bytes(self) -> bytes:
        """Return it as it is signed."""
        subject = {"digest": {"sha256": self.subject.removeprefix("sha256:")}}
        return dump(
            {
                "_type": STATEMENT,
                "subject": [subject],
                "predicateType": self.kind,
                "predicate": dict(self.predicate),
            }
        )


@dataclass(frozen=True, kw_only=True)
class Source:
    """Where a bundle's folder came from, as its publisher says.

    Attributes:
        uri: Of the repository.
        commit: Of it; None when it is not known.
    """

    uri: str
    commit: str | None = None


def signature_statement(digest: str, signed: datetime, expires: datetime) -> Statement:
    """Return what a publisher signs to publish a bundle until a moment."""
    return Statement(
        subject=digest, kind=SIGNATURE, predicate={"signedAt": _moment(signed), "expiresAt": _moment(expires)}
    )


def provenance_statement(bundle: Bundle, built: datetime, source: Source | None) -> Statement:
    """Return how a bundle came about."""
    manifest = bundle.contents.manifest
    parts: list[Json] = [
        {
            "name": PARTS[kind].file,
            "digest": {"sha256": digest_of(bundle.parts[kind]).removeprefix("sha256:")},
        }
        for kind in (CODE_TYPE, LOCK_TYPE)
    ]
    if source is not None:
        commit: dict[str, Json] = {} if source.commit is None else {"digest": {"gitCommit": source.commit}}
        parts.append({"uri": source.uri, **commit})
    return Statement(
        subject=bundle.digest,
        kind=PROVENANCE,
        predicate={
            "buildDefinition": {
                "buildType": BUILD,
                "externalParameters": {
                    "name": manifest.name,
                    "version": manifest.version,
                    "framework": manifest.framework,
                },
                "resolvedDependencies": parts,
            },
            "runDetails": {
                "builder": {"id": "urn:agent-orchestrator:bundle-builder"},
                "metadata": {"finishedOn": _moment(built)},
            },
        },
    )


def parse_statement(payload: bytes) -> Statement:
    """Return the statement that was signed.

    Raises:
        BundleRefused: `malformed`.
    """
    try:
        value = cast("Any", parse(payload))
        (subject,) = value["subject"]
        digest, kind, predicate = (
            subject["digest"]["sha256"],
            value["predicateType"],
            value.get("predicate", {}),
        )
        if value["_type"] not in _STATEMENTS or not isinstance(digest, str) or not isinstance(kind, str):
            raise ValueError("another kind")
        return Statement(subject=f"sha256:{digest}", kind=kind, predicate=dict(predicate))
    except (NotJson, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BundleRefused(
            Refusal.MALFORMED, "what was signed is no in-toto statement of one artifact", cause=str(error)
        ) from error


def moment_of(statement: Statement, key: str) -> datetime | None:
    """Return a moment that a statement names; None where it names none.

    Raises:
        BundleRefused: `malformed`.
    """
    text = statement.predicate.get(key)
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(cast("str", text))
    except (TypeError, ValueError) as error:
        raise BundleRefused(Refusal.MALFORMED, f"{key}: {text!r:.80} is no moment") from error
    return moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)


def _moment(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
