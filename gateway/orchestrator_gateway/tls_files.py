"""TLS by files that may be replaced while a process serves: new connections have what stands there then."""

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Final, TypeAlias

LOG: Final = logging.getLogger("orchestrator_gateway")

HANDSHAKE_SECONDS: Final = 10.0
"""How long the other side of a connection may take to agree on TLS."""

_State: TypeAlias = tuple[tuple[int, int, int] | None, ...]


class BadTlsFile(Exception):
    """A file of TLS cannot be used; the text is one line that names it, and never what stands in it."""


class ServerCertificate:
    """The certificate that a server shows, with its key.

    What is replaced is taken by the next connection. What cannot be used then is told of once, and the one before it
    stays: a kubelet replaces both files at once, and other programs one after the other.

    Args:
        certificate: File of the certificate, and of those between it and the authority; PEM.
        key: File of its key; PEM, not encrypted.
        protocols: What the server speaks, by its names in ALPN; empty agrees on nothing.

    Attributes:
        context: For whatever listens; the same one for as long as it does.

    Raises:
        BadTlsFile: The files cannot be used.
    """

    def __init__(self, certificate: Path, key: Path, *, protocols: Sequence[str] = ()) -> None:
        """Read them."""
        self._certificate, self._key, self._protocols = certificate, key, list(protocols)
        self._seen = self._told = _state(certificate, key)
        self.context: Final = self._read()
        self._current = self.context
        self.context.sni_callback = self._choose

    def _choose(
        self, connection: ssl.SSLSocket | ssl.SSLObject, _name: str | None, _context: ssl.SSLContext
    ) -> None:
        """Give a connection that begins, whether it names a host or not, what the files say now."""
        state = _state(self._certificate, self._key)
        if state != self._seen:
            try:
                self._current, self._seen = self._read(), state
                LOG.info("%s: another certificate is shown from now on", self._certificate)
            except BadTlsFile as error:
                if state != self._told:
                    LOG.error("%s; the certificate before it is shown still", error)
                self._told = state
        if self._current is not self.context:
            connection.context = self._current

    def _read(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        if self._protocols:
            context.set_alpn_protocols(self._protocols)
        for file in (self._certificate, self._key):
            _check(file)
        try:
            # without a word for an encrypted key, OpenSSL would ask whoever sits at the terminal
            context.load_cert_chain(self._certificate, self._key, password="")
        except (ssl.SSLError, OSError) as error:
            why = getattr(error, "reason", None) or error
            raise BadTlsFile(
                f"{str(self._certificate)!r} and {str(self._key)!r} are no certificate with its key, both PEM and the"
                f" key not encrypted: {why}"
            ) from error
        return context


def certificate_of(certificate: Path | None, key: Path | None) -> ServerCertificate | None:
    """Return what a command line says that a server shows; None where it says nothing.

    Raises:
        BadTlsFile: The files cannot be used, or one is missing.
    """
    if certificate is None and key is None:
        return None
    if certificate is None or key is None:
        raise BadTlsFile("a certificate needs its key: give --tls-certificate and --tls-key, or neither")
    return ServerCertificate(certificate, key)


class Authorities:
    """Whom a client trusts to say who a server is; servers are verified by their names.

    Args:
        file: Certificates of authorities, PEM; read again when it changes. None trusts those of the system.

    Raises:
        BadTlsFile: It cannot be used. One that becomes so later is told of once, and what it held before holds on.
    """

    def __init__(self, file: Path | None) -> None:
        """Read them."""
        self._file = file
        self._seen = self._told = None if file is None else _state(file)
        self._current = self._read()

    @property
    def context(self) -> ssl.SSLContext:
        """What the next connection is made with."""
        state = None if self._file is None else _state(self._file)
        if state != self._seen:
            try:
                self._current, self._seen = self._read(), state
            except BadTlsFile as error:
                if state != self._told:
                    LOG.error("%s; the authorities before it are trusted still", error)
                self._told = state
        return self._current

    def _read(self) -> ssl.SSLContext:
        if self._file is not None:
            _check(self._file)
        try:
            context = ssl.create_default_context(cafile=self._file)
        except ssl.SSLError as error:
            raise BadTlsFile(f"{str(self._file)!r} holds no certificates, PEM: {error.reason}") from error
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context


def _check(file: Path) -> None:
    """Refuse a file that cannot be read, by its name: OpenSSL does not say which it was."""
    try:
        with file.open("rb"):
            pass
    except OSError as error:
        raise BadTlsFile(f"{str(file)!r}: cannot be read: {error.strerror}") from error


def _state(*files: Path) -> _State:
    """Return what is another one when one of the files is."""
    return tuple(map(_state_of, files))


def _state_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size
