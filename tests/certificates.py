"""Certificates for tests: one authority in each process, what it has issued, and contexts that use it."""

from __future__ import annotations

import functools
import ssl
from pathlib import Path
from typing import NamedTuple

from tests.partners import need

try:
    import trustme
except ImportError:
    trustme = None  # type: ignore[assignment]

#: Whom a certificate is for, if nothing else is said.
NAMES = ("localhost", "127.0.0.1")


@functools.cache
def authority() -> trustme.CA:
    """The authority that clients trust. Skips the test where trustme is not installed."""
    need(trustme is not None, "trustme (PyPI) is not installed")
    return trustme.CA()


@functools.cache
def certificate(*names: str) -> trustme.LeafCert:
    """A certificate for these names or addresses, with its key."""
    return authority().issue_cert(*names or NAMES)


def serving(*names: str) -> ssl.SSLContext:
    """A server's context, new, with a certificate for these names or addresses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate(*names).configure_cert(context)
    return context


def trusting() -> ssl.SSLContext:
    """A client's context, new, that trusts the authority and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority().configure_trust(context)
    return context


@functools.cache
def contexts(version: ssl.TLSVersion | None = None) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """(server's, client's) context for localhost, shared by all tests: do not change them. With a version, the client
    speaks no other."""
    client = trusting()
    if version is not None:
        client.minimum_version = client.maximum_version = version
    return serving(), client


class Files(NamedTuple):
    """Paths of files in PEM."""

    certificate: str
    key: str
    both: str
    authority: str


def files(folder: str | Path, *names: str) -> Files:
    """Write a certificate for these names, its key, and the authority into a folder."""
    found = Files(*(str(Path(folder, f"{name}.pem")) for name in ("cert", "key", "both", "ca")))
    issued = certificate(*names)
    issued.cert_chain_pems[0].write_to_path(found.certificate)
    issued.private_key_pem.write_to_path(found.key)
    issued.private_key_and_cert_chain_pem.write_to_path(found.both)
    authority().cert_pem.write_to_path(found.authority)
    return found


def authority_pem() -> str:
    """The authority, in the form that `ssl.create_default_context(cadata=)` takes."""
    return authority().cert_pem.bytes().decode()
