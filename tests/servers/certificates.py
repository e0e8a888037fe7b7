"""Certificates of a test's own, by an authority that only it knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trustme

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

__all__ = ["Certificates"]


class Certificates:
    """An authority, a server's certificate for this machine, and any number of clients'.

    Attributes:
        authority: The file with the authority's certificate.
        certificate: The file with the server's.
        key: The file with its key.

    Args:
        folder: Where the files go; made if it is not there.
        expired_at: When the server's certificate ran out, if it shall have; the clients' are good.
    """

    def __init__(self, folder: Path, *, expired_at: datetime | None = None) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._authority = folder, trustme.CA()
        self.authority, self.certificate, self.key = (folder / name for name in ("ca.pem", "server.pem", "server.key"))
        self._authority.cert_pem.write_to_path(self.authority)
        self.renew(expired_at=expired_at)

    def renew(self, *, expired_at: datetime | None = None) -> None:
        """Issue the server's certificate anew, into the same files."""
        self._issue("localhost", "127.0.0.1", into=(self.certificate, self.key), expired_at=expired_at)

    def client(self, name: str, *, expired_at: datetime | None = None) -> tuple[Path, Path]:
        """A client's certificate and key; issued anew if there was one of that name."""
        files = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        self._issue(f"{name}@localhost", into=files, expired_at=expired_at)
        return files

    def _issue(self, *names: str, into: tuple[Path, Path], expired_at: datetime | None) -> None:
        issued = self._authority.issue_cert(*names, not_after=expired_at)
        certificate, key = into
        certificate.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(key)
