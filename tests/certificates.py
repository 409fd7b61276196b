"""Certificates for tests: one authority in each process, what it has issued, and contexts that use it.

They are made by the program `openssl`, and not by a package: cryptography is not to be had for every Python.
"""

from __future__ import annotations

import functools
import secrets
import shutil
import ssl
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from tests.partners import need

#: Whom a certificate is for, if nothing else is said.
NAMES = ("localhost", "127.0.0.1")

#: Days that one is valid.
LIFE = 3650

_AUTHORITY = """
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
"""

_LEAF = """
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
authorityKeyIdentifier = keyid
subjectKeyIdentifier = hash
subjectAltName = {names}
"""

#: `openssl req` wants a configuration, and the system's may be missing.
_CONFIG = "[req]\ndistinguished_name = name\n[name]\n"


class Issued(NamedTuple):
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes


@functools.cache
def authority() -> Issued:
    """The authority that clients trust. Skips the test where the program openssl is not installed."""
    return _make("Authority", _AUTHORITY, LIFE, None)


@functools.cache
def certificate(*names: str, days: int = LIFE) -> Issued:
    """A certificate for these names or addresses; less than no days: it has expired."""
    told = ", ".join(f"{_kind(name)}:{name}" for name in names or NAMES)
    return _make("Test", _LEAF.format(names=told), days, authority())


def _kind(name: str) -> str:
    is_address = ":" in name or name.replace(".", "").isdigit()
    return "IP" if is_address else "email" if "@" in name else "DNS"


def _make(subject: str, extensions: str, days: int, issuer: Issued | None) -> Issued:
    """A new key, and a certificate for it: signed by the issuer, or by itself."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (("config", _CONFIG), ("extensions", extensions)):
            (folder / file).write_text(text)
        _openssl(folder, "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out key.pem")
        _openssl(folder, f"req -new -config config -key key.pem -subj /O=syncws/CN={subject} -out request.pem")
        signing = "-signkey key.pem"
        if issuer is not None:
            (folder / "issuer.pem").write_bytes(issuer.certificate)
            (folder / "issuer.key").write_bytes(issuer.key)
            signing = "-CA issuer.pem -CAkey issuer.key"
        how = f"-extfile extensions -days {days} -set_serial {secrets.randbits(64)}"
        _openssl(folder, f"x509 -req -in request.pem {signing} {how} -sha256 -out cert.pem")
        return Issued((folder / "cert.pem").read_bytes(), (folder / "key.pem").read_bytes())


def _openssl(folder: Path, arguments: str) -> None:
    program = shutil.which("openssl")
    need(program is not None, "the program openssl is not installed")
    done = subprocess.run([str(program), *arguments.split()], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {arguments}\n{done.stderr}"


def serving(*names: str) -> ssl.SSLContext:
    """A server's context, new, with a certificate for these names or addresses."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certify(context, *names)
    return context


def trusting() -> ssl.SSLContext:
    """A client's context, new, that trusts the authority and nobody else."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trust(context)
    return context


def certify(context: ssl.SSLContext, *names: str) -> None:
    """Let a context show a certificate for these names or addresses."""
    with tempfile.TemporaryDirectory() as folder:
        context.load_cert_chain(files(folder, *names).both)


def trust(context: ssl.SSLContext) -> None:
    """Let a context trust the authority."""
    context.load_verify_locations(cadata=authority_pem())


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


def files(folder: str | Path, *names: str, days: int = LIFE) -> Files:
    """Write a certificate for these names, its key, and the authority into a folder."""
    found = Files(*(str(Path(folder, f"{name}.pem")) for name in ("cert", "key", "both", "ca")))
    issued = certificate(*names, days=days)
    Path(found.certificate).write_bytes(issued.certificate)
    Path(found.key).write_bytes(issued.key)
    Path(found.both).write_bytes(issued.key + issued.certificate)
    Path(found.authority).write_bytes(authority().certificate)
    return found


def authority_pem() -> str:
    """The authority, in the form that `ssl.create_default_context(cadata=)` takes."""
    return authority().certificate.decode()
