# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why TLS did not come about, in words; and whether the files that are named for it can be used at all.

This module is private to the collection redis_ha.sentinel.
"""

from __future__ import annotations

import ssl

_EXPIRED = 10
_NOT_YET_VALID = 9
_WRONG_HOST = (62, 64)
"""X509_V_ERR_HOSTNAME_MISMATCH and X509_V_ERR_IP_ADDRESS_MISMATCH (``x509_vfy.h``)."""
_UNKNOWN_AUTHORITY = (2, 18, 19, 20, 21)
"""No issuer, or one that is signed by itself and not among those that are trusted."""

_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "UNKNOWN_PROTOCOL")
_CLIENT_REFUSED = "it refuses the client certificate, or wants one"


def refusal(error: BaseException) -> str:
    """Why a TLS connection failed before the server had answered anything.

    With TLS 1.3 a server tells what it thinks of our certificate only after our part of the handshake is over, and then
    closes the connection: often that is all that is seen of it.
    """
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, ssl.SSLCertVerificationError):
        return _distrust(error.verify_code, error.verify_message)
    if any(reason.startswith(known) for known in _NO_TLS):
        return "it does not speak TLS"
    if "ALERT" in reason and ("CERT" in reason or "UNKNOWN_CA" in reason):
        return f"{_CLIENT_REFUSED} ({reason.partition('ALERT_')[2].lower().replace('_', ' ')})"
    if not isinstance(error, ssl.SSLError) or isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)):
        return f"{_CLIENT_REFUSED} (it closed the connection)"
    return str(error)


def _distrust(code: int, said: str) -> str:
    """What is wrong with the certificate of a server."""
    if code == _EXPIRED:
        return "its certificate has expired"
    if code == _NOT_YET_VALID:
        return "its certificate is not valid yet"
    if code in _WRONG_HOST:
        return f"its certificate is for another host ({said.rstrip('.')})"
    if code in _UNKNOWN_AUTHORITY:
        return f"its certificate is signed by no authority that is trusted here ({said})"
    return f"its certificate does not hold ({said})"


def unusable_file(ca_certs: str | None, client_cert_file: str | None, client_key_file: str | None) -> str:
    """What is wrong with the files that connections are to be made with; nothing if they can be used."""
    named = {"ca_certs": ca_certs, "client_cert_file": client_cert_file, "client_key_file": client_key_file}
    for name, path in named.items():
        if path and (why := _unreadable(path)):
            return f"{name}={path} cannot be read: {why}"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        if ca_certs:
            context.load_verify_locations(ca_certs)
    except ssl.SSLError:
        return f"ca_certs={ca_certs} holds no certificate in PEM form"
    try:
        if client_cert_file:
            # A password, so that nobody is asked for one; a key without ignores it.
            context.load_cert_chain(client_cert_file, client_key_file, password="")
    except (ssl.SSLError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            return f"client_key_file={client_key_file} is not the key of client_cert_file={client_cert_file}"
        return (
            f"client_cert_file={client_cert_file} and client_key_file={client_key_file} are no certificate and key "
            "in PEM form without a passphrase"
        )
    return ""


def _unreadable(path: str) -> str:
    """Why a file cannot be read; nothing if it can."""
    try:
        with open(path, "rb"):
            return ""
    except OSError as error:
        return error.strerror or str(error)
