"""Codes of an authenticator app (RFC 6238, `pyotp`) and recovery codes: pure but for randomness."""

import base64
import hmac
import secrets

import pyotp
import segno

ISSUER = "Yuanzhen 远诊"
STEP_S = 30
DRIFT_STEPS = 1
"""A code of the step before or after counts too: telephones' clocks are some seconds off."""
SECRET_BYTES = 20
RECOVERY_CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_GROUP, _GROUPS = 4, 6


def new_secret() -> str:
    """Return a secret of 160 bits in base32."""
    return base64.b32encode(secrets.token_bytes(SECRET_BYTES)).decode()


def address(secret: str, username: str) -> str:
    """Return the otpauth address that authenticator apps read."""
    return pyotp.TOTP(secret, interval=STEP_S).provisioning_uri(name=username, issuer_name=ISSUER)


def picture(text: str) -> str:
    """Return a text as a QR code: an SVG image as a data URI."""
    return str(segno.make(text, error="m").svg_data_uri(scale=4, border=4))


def step_of(secret: str, code: str, at_s: float) -> int | None:
    """Return the time step that a code belongs to; None where it is wrong or not of about now.

    The caller keeps the last step that was used and refuses codes up to it: each counts once.
    """
    totp, now = pyotp.TOTP(secret, interval=STEP_S), int(at_s) // STEP_S
    given = code.strip().replace(" ", "")
    found = None
    for step in range(now - DRIFT_STEPS, now + DRIFT_STEPS + 1):
        if hmac.compare_digest(totp.generate_otp(step).encode(), given.encode("utf-8", "surrogatepass")):
            found = step
    return found


def new_recovery_codes() -> list[str]:
    """Return codes for when the telephone is lost: 118 bits each, to be written down and used once.

    Their plain SHA-256 is kept, which is enough from 112 bits on.  Codes of four groups (79 bits), as they were given
    out once, count until they are used or made anew.
    """
    return ["-".join(_group() for _ in range(_GROUPS)) for _ in range(RECOVERY_CODES)]


def plain(recovery_code: str) -> str:
    """Return a recovery code as it is hashed, however it was typed."""
    return "".join(letter for letter in recovery_code.lower() if letter in _ALPHABET)


def _group() -> str:
    return "".join(secrets.choice(_ALPHABET) for _ in range(_GROUP))
