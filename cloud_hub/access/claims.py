"""What an identity provider says of a person, and what that gives them here: pure, deny by default."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from telemed.roles import Role

from cloud_hub.config import OidcRule

Claims = Mapping[str, Any]
USERNAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,63}")
RESERVED = frozenset({"seed", "command-line", "identity-provider"})
"""Names that stand in the audit trail for no person."""
LONGEST_NAME = 80


@dataclass(frozen=True, slots=True)
class Granted:
    """What the mapping gives somebody."""

    role: Role
    sites: tuple[str, ...]
    """Sorted; empty = the whole region."""
    creates_account: bool


def granted(claims: Claims, rules: Iterable[OidcRule]) -> Granted | None:
    """Return what the rules give; None where none fits.

    The first that fits says the role; others for the same role add their sites.
    """
    fitting = [rule for rule in rules if rule.value in values(claims, rule.claim)]
    if not fitting:
        return None
    mine = [rule for rule in fitting if rule.role is fitting[0].role]
    everywhere = any(not rule.sites for rule in mine)
    sites = () if everywhere else tuple(sorted({site for rule in mine for site in rule.sites}))
    return Granted(mine[0].role, sites, any(rule.creates_account for rule in mine))


def values(claims: Claims, name: str) -> frozenset[str]:
    """Return the texts that a claim has: itself, or the texts of its list; a name with dots leads into objects."""
    found: Any = claims.get(name)
    if found is None:
        found = claims
        for part in name.split("."):
            found = found.get(part) if isinstance(found, Mapping) else None
    several = found if isinstance(found, list) else [found]
    return frozenset(one for one in several if isinstance(one, str))


def is_strong(claims: Claims, acr: Sequence[str], amr: Sequence[str]) -> bool:
    """True where the provider says that it asked for a second factor, in words that configuration accepts."""
    return bool(values(claims, "acr") & set(acr) or values(claims, "amr") & set(amr))


def username_of(claims: Claims, claim: str) -> str:
    """Return the name that a new account would get; empty where the claim is none that could be one."""
    found = claims.get(claim)
    return found if isinstance(found, str) and USERNAME.fullmatch(found) and found not in RESERVED else ""


def name_of(claims: Claims, claim: str, otherwise: str) -> str:
    """Return the person's name as the provider has it, as one line of bounded length."""
    found = claims.get(claim)
    line = " ".join(found.split()) if isinstance(found, str) else ""
    return "".join(letter for letter in line if letter.isprintable())[:LONGEST_NAME] or otherwise
