# SPDX-FileCopyrightText: The redis_ha.sentinel authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is said of a TLS connection that fails. The errors are those of OpenSSL, by the names that its versions have for them."""

from __future__ import annotations

import ssl

import pytest
from ansible_collections.redis_ha.sentinel.plugins.module_utils._tls import refusal

CLIENT_CERTIFICATE = "it refuses the client certificate, or wants one"


def error(reason: str, kind: type[ssl.SSLError] = ssl.SSLError) -> ssl.SSLError:
    made = kind(1, f"[SSL: {reason}] said by OpenSSL")
    made.reason = reason
    return made


def distrust(code: int, message: str) -> ssl.SSLCertVerificationError:
    made = ssl.SSLCertVerificationError(1, "certificate verify failed")
    made.verify_code, made.verify_message = code, message
    return made


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (error("WRONG_VERSION_NUMBER"), "it does not speak TLS"),
        (error("RECORD_LAYER_FAILURE"), "it does not speak TLS"),
        (error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), f"{CLIENT_CERTIFICATE} (certificate required)"),
        (error("TLSV1_ALERT_UNKNOWN_CA"), f"{CLIENT_CERTIFICATE} (unknown ca)"),
        (error("UNEXPECTED_EOF_WHILE_READING", ssl.SSLEOFError), f"{CLIENT_CERTIFICATE} (it closed the connection)"),
        (error("", ssl.SSLZeroReturnError), f"{CLIENT_CERTIFICATE} (it closed the connection)"),
        (ConnectionResetError(104, "Connection reset by peer"), f"{CLIENT_CERTIFICATE} (it closed the connection)"),
        (error("NO_CIPHERS_AVAILABLE"), str(error("NO_CIPHERS_AVAILABLE"))),
    ],
    ids=["no TLS", "no TLS, newer", "none shown", "another authority", "end", "orderly end", "reset", "anything else"],
)
def test_why_a_handshake_failed(failure: BaseException, said: str) -> None:
    assert refusal(failure) == said


@pytest.mark.parametrize(
    ("code", "message", "said"),
    [
        (10, "certificate has expired", "its certificate has expired"),
        (9, "certificate is not yet valid", "its certificate is not valid yet"),
        (62, "Hostname mismatch, not valid for 'db1'.", "is for another host (Hostname mismatch, not valid for 'db1')"),
        (64, "IP address mismatch, not valid for '10.0.0.1'.", "is for another host (IP address mismatch"),
        (20, "unable to get local issuer certificate", "signed by no authority that is trusted here"),
        (18, "self-signed certificate", "signed by no authority that is trusted here (self-signed certificate)"),
        (66, "EE certificate key too weak", "its certificate does not hold (EE certificate key too weak)"),
    ],
    ids=["expired", "too early", "name", "address", "no issuer", "self-signed", "anything else"],
)
def test_what_is_wrong_with_the_certificate_of_a_server(code: int, message: str, said: str) -> None:
    assert said in refusal(distrust(code, message))
