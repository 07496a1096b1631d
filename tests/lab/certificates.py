# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""A certificate authority for one test, and the certificates that it needs, good and bad.

`python -m lab.certificates FOLDER NAME...` makes them for servers with these names and addresses.
"""

from __future__ import annotations

import ipaddress
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class KeyPair:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


@dataclass(frozen=True)
class Certificates:
    """What `make_certificates` made. Servers show `server`, and ask clients for a certificate if told to."""

    ca: Path
    server: KeyPair
    client: KeyPair
    expired: KeyPair
    future: KeyPair
    wrong_name: KeyPair
    other_ca: Path
    locked_client_key: Path
    auth_clients: bool = True

    def server_config(self, port: int) -> list[str]:
        """Lines that make a node or a Sentinel listen to TLS only, and speak it to the others."""
        return [
            "port 0",
            f"tls-port {port}",
            f"tls-cert-file {self.server.cert}",
            f"tls-key-file {self.server.key}",
            f"tls-ca-cert-file {self.ca}",
            f"tls-auth-clients {'yes' if self.auth_clients else 'no'}",
            "tls-replication yes",
        ]

    def client_options(self) -> dict[str, Any]:
        """Options of redis.Redis."""
        return {
            "ssl": True,
            "ssl_ca_certs": str(self.ca),
            "ssl_certfile": str(self.client.cert),
            "ssl_keyfile": str(self.client.key),
            "ssl_check_hostname": False,
        }


def make_certificates(
    folder: Path,
    names: Sequence[str] = ("localhost", "127.0.0.1", "::1"),
    *,
    auth_clients: bool = True,
) -> Certificates:
    """Makes a certificate authority and certificates in `folder`.

    `server` is valid for `names`; `expired` was until yesterday, `future` will be from tomorrow on; `wrong_name` is valid
    for another host; `other_ca` is an authority that signed none of them; `locked_client_key` is the key of `client`
    behind a passphrase.
    """
    folder.mkdir(parents=True, exist_ok=True)
    authority = _Authority(folder, "ca", "Lab CA")
    client = authority.issue("client", ())
    return Certificates(
        ca=authority.cert,
        server=authority.issue("server", names),
        client=client,
        expired=authority.issue("expired", names, valid_until=-_DAY),
        future=authority.issue("future", names, valid_from=_DAY),
        wrong_name=authority.issue("wrong-name", ("elsewhere.example",)),
        other_ca=_Authority(folder, "other-ca", "Another lab CA").cert,
        locked_client_key=_lock(client.key, folder / "client-locked.key"),
        auth_clients=auth_clients,
    )


class _Authority:
    def __init__(self, folder: Path, file_name: str, common_name: str) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(common_name)
        usage = x509.KeyUsage(
            digital_signature=True,
            key_cert_sign=True,
            crl_sign=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )
        certificate = (
            _builder(self._name, self._name, self._key.public_key(), -_DAY * 30, _DAY * 30)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        self.cert = _write_certificate(folder / f"{file_name}.crt", certificate)

    def issue(
        self, name: str, hosts: Sequence[str], *, valid_from: timedelta = -_DAY * 30, valid_until: timedelta = _DAY * 30
    ) -> KeyPair:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = (
            _builder(_name(name), self._name, key.public_key(), valid_from, valid_until)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            # Servers use theirs as clients too, towards their master and towards each other.
            .add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
        )
        if hosts:
            builder = builder.add_extension(x509.SubjectAlternativeName(map(_general_name, hosts)), critical=False)
        key_path = _write_key(self._folder / f"{name}.key", key, serialization.NoEncryption())
        certificate = builder.sign(self._key, hashes.SHA256())
        return KeyPair(_write_certificate(self._folder / f"{name}.crt", certificate), key_path)


def _lock(key: Path, locked: Path) -> Path:
    """The same key behind a passphrase."""
    opened = serialization.load_pem_private_key(key.read_bytes(), password=None)
    assert isinstance(opened, ec.EllipticCurvePrivateKey)
    return _write_key(locked, opened, serialization.BestAvailableEncryption(b"passphrase"))


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid_from: timedelta, valid_until: timedelta
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + valid_from)
        .not_valid_after(now + valid_until)
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _write_key(
    path: Path, key: ec.EllipticCurvePrivateKey, encryption: serialization.KeySerializationEncryption
) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption))
    return path


def _write_certificate(path: Path, certificate: x509.Certificate) -> Path:
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return path


if __name__ == "__main__":
    make_certificates(Path(sys.argv[1]), sys.argv[2:])
