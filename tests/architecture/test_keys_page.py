"""The page of keys names every module that makes or uses one, and every setting that leads to one."""

import ast
import re
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from cloud_hub.config import HubConfig
from edge_node.config import EdgeConfig

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "keys.md").read_text(encoding="utf-8")
SOURCES = [
    path
    for side in ("cloud_hub", "edge_node", "protos/telemed")
    for path in (ROOT / side).rglob("*.py")
    if "_pb2" not in path.name and "node_modules" not in path.parts
]
MAKES = re.compile(
    r"generate_private_key\(|Ed25519PrivateKey\.generate\(|PasswordHasher\(|token_bytes\(|token_urlsafe\(|secrets\.choice\("
    r"|hmac\.new\(|pbkdf2_hmac\(|blake2b\([^)]*key=|AESGCM\(|SSL\.Context\(|SSLContext\("
)
SECRET = re.compile(r"(secret|key|token|seed)\w*_(file|folder)$|^certificates$|_url$")
PROVEN = {"cryptography", "OpenSSL", "argon2", "hashlib", "hmac", "secrets", "ssl", "joserfc", "webauthn", "pyotp"}
CIPHERS = {
    "Crypto",
    "Cryptodome",
    "nacl",
    "rsa",
    "ecdsa",
    "jwt",
    "jose",
    "bcrypt",
    "passlib",
    "md5",
    "sha",
    "crypt",
} | PROVEN
"""Libraries that make, keep or judge keys, and some that are not wanted."""


def unnamed(page: str) -> list[str]:
    """Return the modules that make or use keys and are not on the page."""
    found = [str(path.relative_to(ROOT)) for path in SOURCES if MAKES.search(path.read_text(encoding="utf-8"))]
    return sorted(name for name in found if f"`{name}`" not in page)


def settings(model: type[BaseModel]) -> set[str]:
    """Return the names of all fields in the module of a configuration."""
    sections = [one for one in vars(sys.modules[model.__module__]).values() if isinstance(one, type)]
    return {name for one in sections if issubclass(one, BaseModel) for name in one.model_fields}


def imported(path: Path) -> set[str]:
    """Return the first names of what a module imports."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plain = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    of = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
    return {name.split(".")[0] for name in plain | of}


def test_every_module_that_makes_or_uses_a_key_stands_on_the_page() -> None:
    assert unnamed(PAGE) == []
    assert unnamed(PAGE.replace("`cloud_hub/access/sealing.py`", "")) == ["cloud_hub/access/sealing.py"]


def test_the_page_names_no_module_that_is_not_there() -> None:
    named = set(re.findall(r"`((?:cloud_hub|edge_node|protos)/[\w/]+\.py)`", PAGE))
    assert sorted(name for name in named if not (ROOT / name).is_file()) == []


@pytest.mark.parametrize("side", [HubConfig, EdgeConfig])
def test_every_setting_that_leads_to_a_secret_stands_on_the_page(side: type[BaseModel]) -> None:
    found = {name for name in settings(side) if SECRET.search(name)}
    assert len(found) > 4
    assert sorted(name for name in found if name not in PAGE) == []


def test_keys_are_handled_by_proven_libraries_alone() -> None:
    used = {name for path in SOURCES for name in imported(path)} & CIPHERS
    assert used - PROVEN == set()
