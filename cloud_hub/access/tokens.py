"""Random tokens and what is kept of them: never the token, only its SHA-256."""

import hashlib
import secrets

TOKEN_BYTES = 32


def new_token() -> str:
    """Return 256 random bits as URL-safe text."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def digest(token: str) -> str:
    """Return the SHA-256 of a token as 64 hex digits: enough for random secrets, and cheap to look up."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
