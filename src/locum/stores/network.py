"""What the network's, the kernel's and TLS's errors mean: one sentence each, which says what to do next."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, Final

from locum.stores.link import unusable

if TYPE_CHECKING:
    from locum.errors import LocumError

__all__ = ["in_words"]

_EXPIRED: Final = 10  # X509_V_ERR_CERT_HAS_EXPIRED


def in_words(error: BaseException, url: str) -> str | LocumError:
    """What a failure to reach a server means: a sentence, or an error where it can never work so."""
    cause = _of_kernel(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        if cause.verify_code == _EXPIRED:
            return f"its certificate is not good ({cause.verify_message}): renew it on the server"
        return unusable(
            url,
            f"its certificate is not trusted ({cause.verify_message}): name its authority with ?cafile=..., and the"
            " server by a name that the certificate has",
        )
    if isinstance(cause, ssl.SSLError):
        said = cause.reason or str(cause)
        return f"TLS failed ({said}): see whether it speaks TLS on this port, and which certificates it wants of us"
    if isinstance(cause, socket.gaierror):
        return f"its name is not known ({cause.strerror}): see whether the URL and this machine's DNS are right"
    if isinstance(cause, ConnectionResetError | BrokenPipeError):
        said = cause.strerror or "without a word"
        return f"it cut the connection ({said}): see its log, and which certificates it wants if it speaks TLS"
    if isinstance(cause, OSError):
        return f"it is not reached ({cause.strerror or cause}): see whether it runs, and listens there"
    return f"the connection broke ({str(error) or type(error).__name__})"


def _of_kernel(error: BaseException) -> BaseException | None:
    """The kernel's or TLS's own error below a library's, which keeps only its text."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, OSError):
        found = found.__cause__ or found.__context__
    return found
