"""A repository of an OCI registry, as a client: goes on where it was cut off, and believes digests only.

https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md
"""

import time
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Final

import httpx

from orchestrator_marketplace.oci import (
    INDEX,
    MANIFEST,
    Descriptor,
    digest_of,
    index_bytes,
    is_digest,
    parse_index,
    parse_tags,
)
from orchestrator_marketplace.references import Reference
from orchestrator_marketplace.refusals import BundleRefused, Refusal
from orchestrator_marketplace.registry_errors import RegistryDenied, RegistryUnavailable
from orchestrator_marketplace.registry_requests import Answer, Ask, RegistryConnection, bounded

TAGS: Final = 10_000
_PAGE: Final = 1_000
CHUNK_BYTES: Final = 4 * 2**20
TRANSFER_SECONDS: Final = 600.0
"""Of one download, all its tries together: a registry that gives a byte now and then ends here."""

_BINARY: Final = {"content-type": "application/octet-stream"}


class Repository:
    """See the module.

    Args:
        reference: Which registry, and which repository.
        insecure: Whether a registry that is not on this machine is spoken to by plain HTTP.
        chunk_bytes: How much is uploaded in one request.
        seconds: See `TRANSFER_SECONDS`.
        sleep: Waits seconds between tries.
    """

    def __init__(
        self,
        reference: Reference,
        *,
        insecure: bool = False,
        chunk_bytes: int = CHUNK_BYTES,
        seconds: float = TRANSFER_SECONDS,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """Use a repository; nothing is asked yet."""
        self.reference = reference
        self._connection = RegistryConnection(reference, insecure=insecure, sleep=sleep)
        self._root = f"{self._connection.root}/v2/{reference.repository}"
        self._chunk_bytes = chunk_bytes
        self._seconds = seconds

    def __enter__(self) -> "Repository":
        """Return the repository."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the connections."""
        self._connection.close()

    def manifest(self, asked: str, kind: str = MANIFEST) -> bytes | None:
        """Return the manifest of a tag or digest; None when there is none.

        Raises:
            BundleRefused: `oversized`; `tampered` when its digest is another than asked.
            RegistryUnavailable, RegistryDenied: It cannot be had.
        """
        ask = Ask(method="GET", url=f"{self._root}/manifests/{asked}", headers={"accept": kind})
        answer = self._connection.ask(ask, 200, 404)
        if answer.status == 404:
            return None
        if is_digest(asked) and digest_of(answer.content) != asked:
            raise BundleRefused(Refusal.TAMPERED, f"{self.reference.registry} gives other bytes for {asked}")
        return answer.content

    def tags(self) -> tuple[str, ...]:
        """Return the tags that there are; none where the repository does not exist yet.

        Raises:
            BundleRefused: `malformed` for a list that is none, `oversized` for more than `TAGS`.
            RegistryUnavailable, RegistryDenied: They cannot be had.
        """
        found: list[str] = []
        last = ""
        while True:
            query = urllib.parse.urlencode({"n": _PAGE, **({"last": last} if last else {})})
            answer = self._connection.ask(Ask(method="GET", url=f"{self._root}/tags/list?{query}"), 200, 404)
            page = () if answer.status == 404 else parse_tags(answer.content)
            found += page
            if len(found) > TAGS:
                raise BundleRefused(
                    Refusal.OVERSIZED, f"{self.reference.repository} has more than {TAGS} tags"
                )
            if "link" not in answer.headers or not page or page[-1] <= last:
                return tuple(found)
            last = page[-1]

    def put_manifest(self, content: bytes, asked: str, kind: str = MANIFEST) -> bool:
        """Store a manifest by a tag or its digest; tell whether the registry lists it at its subject by itself."""
        ask = Ask(
            method="PUT",
            url=f"{self._root}/manifests/{asked}",
            headers={"content-type": kind},
            content=content,
        )
        return "oci-subject" in self._connection.ask(ask, 201).headers

    def referrers(self, digest: str) -> tuple[Descriptor, ...]:
        """Return what is said about an artifact: the registry's own list, or the tag that stands in for one."""
        ask = Ask(method="GET", url=f"{self._root}/referrers/{digest}", headers={"accept": INDEX})
        answer = self._connection.ask(ask, 200, 400, 404, 405)
        if answer.status == 200:
            return parse_index(answer.content)
        content = self.manifest(digest.replace(":", "-"), INDEX)
        return () if content is None else parse_index(content)

    def add_referrer(self, manifest: bytes, entry: Descriptor, subject: str) -> None:
        """Store what is said about an artifact, and list it where the registry does not."""
        if not self.put_manifest(manifest, entry.digest):
            others = [one for one in self.referrers(subject) if one.digest != entry.digest]
            self.put_manifest(index_bytes((*others, entry)), subject.replace(":", "-"), INDEX)

    def download(self, descriptor: Descriptor, file: Path) -> None:
        """Write the bytes of a descriptor to a file; what an earlier try left beside it, in `.part`, is gone on with.

        Raises:
            BundleRefused: `tampered`, `oversized`, `bomb`; what came is thrown away.
            RegistryUnavailable: It broke off too often, or took too long; what came is kept for the next time.
            RegistryDenied: It is not there.
        """
        part = file.with_name(f"{file.name}.part")
        part.parent.mkdir(parents=True, exist_ok=True)
        part.touch()
        until = time.monotonic() + self._seconds
        try:
            self._connection.patiently(
                f"{descriptor.digest} cannot be downloaded", lambda: self._go_on(descriptor, part, until)
            )
            descriptor.check(part.read_bytes())
        except BundleRefused:
            part.unlink()
            raise
        part.rename(file)

    def _go_on(self, descriptor: Descriptor, part: Path, until: float) -> None:
        have = part.stat().st_size
        if have >= descriptor.size:
            return
        ranged = {"range": f"bytes={have}-"} if have else {}
        ask = Ask(method="GET", url=f"{self._root}/blobs/{descriptor.digest}", headers=ranged)
        with self._connection.stream(ask) as response, part.open("r+b") as opened:
            start = _start(response, have)
            if start is None:
                raise self._refused(ask, response)
            opened.truncate(start)
            opened.seek(start)
            for piece in bounded(response, descriptor.size - start):
                opened.write(piece)
                if time.monotonic() > until:
                    raise RegistryUnavailable(
                        f"{descriptor.digest}: not done after {self._seconds:.0f} s; the next try goes on"
                    )
        if part.stat().st_size < descriptor.size:
            raise httpx.RemoteProtocolError("the answer ended too early")

    def _refused(self, ask: Ask, response: httpx.Response) -> Exception:
        if response.status_code >= 500 or response.status_code == 429:
            return httpx.RemoteProtocolError(f"status {response.status_code}")
        return self._connection.denied(ask, response.status_code, b"")

    def upload(self, content: bytes, descriptor: Descriptor) -> bool:
        """Store bytes; tell whether they were sent, which they are not when they are there already.

        Raises:
            RegistryUnavailable, RegistryDenied: They cannot be stored.
        """
        head = Ask(method="HEAD", url=f"{self._root}/blobs/{descriptor.digest}")
        if self._connection.ask(head, 200, 404).status == 200:
            return False
        _Upload(self._connection, self._root, content, descriptor.digest, self._chunk_bytes).run()
        return True


class _Upload:
    """One upload, which another try goes on with."""

    def __init__(
        self, connection: RegistryConnection, root: str, content: bytes, digest: str, chunk_bytes: int
    ) -> None:
        self._connection = connection
        self._content = content
        self._digest = digest
        self._chunk_bytes = chunk_bytes
        self._broken = False
        self._place = ""
        self._root = root
        self._begin()

    def _begin(self) -> None:
        self._sent = 0
        self._move(self._connection.ask(Ask(method="POST", url=f"{self._root}/blobs/uploads/"), 202))

    def run(self) -> None:
        self._connection.patiently(f"{self._digest} cannot be uploaded", self._go_on)

    def _go_on(self) -> None:
        if self._broken:
            self._ask_how_much_came()
        self._broken = True
        while len(self._content) - self._sent > self._chunk_bytes:
            chunk = self._content[self._sent : self._sent + self._chunk_bytes]
            said = {"content-range": f"{self._sent}-{self._sent + len(chunk) - 1}", **_BINARY}
            ask = Ask(method="PATCH", url=self._place, headers=said, content=chunk)
            self._move(self._connection.ask(ask, 202, once=True))
            self._sent += len(chunk)
        url = str(httpx.URL(self._place).copy_merge_params({"digest": self._digest}))
        last = Ask(method="PUT", url=url, headers=_BINARY, content=self._content[self._sent :])
        self._connection.ask(last, 201, once=True)

    def _ask_how_much_came(self) -> None:
        answer = self._connection.ask(Ask(method="GET", url=self._place), 204, 404, once=True)
        if answer.status == 404:  # it was finished, and only the answer was lost, or it is forgotten
            self._begin()
            return
        first, _, last = answer.headers.get("range", "").partition("-")
        if first != "0" or not last.isdigit() or int(last) >= len(self._content):
            raise RegistryDenied("the registry does not know how much of an upload came: push again")
        # a registry that has nothing says 0-0, too: then its first byte is sent twice, and it says so
        self._sent = int(last) + 1 if int(last) else 0
        self._move(answer)

    def _move(self, answer: Answer) -> None:
        self._place = self._connection.here(answer.headers.get("location", ""))


def _start(response: httpx.Response, have: int) -> int | None:
    """Return at which byte the answer begins; None when it is none that helps."""
    if response.status_code == 200:
        return 0
    unit, _, said = response.headers.get("content-range", "").partition(" ")
    first = said.partition("-")[0]
    if response.status_code != 206 or unit != "bytes" or not first.isdigit() or int(first) > have:
        return None
    return int(first)
