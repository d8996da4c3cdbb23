"""Who holds a session: the principal, made anew from what is stored of account, care team, consents and openings."""

from collections.abc import Set as AbstractSet
from dataclasses import replace

from sqlalchemy import Connection
from telemed.consent import Purpose
from telemed.roles import ELSEWHERE, MACHINES, OWN_ONLY, REGIONAL, Right, Role, reach

from cloud_hub.access.rights import Principal
from cloud_hub.store import broken_glass, care_team, consents
from cloud_hub.store.accounts import Account, Session, SetBy
from cloud_hub.store.displays import Display


def of_account(
    connection: Connection,
    account: Account,
    session: Session,
    region: str,
    factor_roles: AbstractSet[Role],
    now_ns: int,
) -> Principal:
    """Return who holds a session, as far as what is stored says now.

    Args:
        connection: to the care database.
        account: whose session it is.
        session: open, of a page or of a program in somebody's name.
        region: of this hub.
        factor_roles: roles that need a second factor.
        now_ns: nanoseconds since the Unix epoch.
    """
    # Who came by the provider or a key does not know the first password; a token that says nothing began with it.
    by_password = session.extra.get("by", "password" if session.kind == "bearer" else "") == "password"
    principal = Principal(
        username=account.username,
        role=account.role,
        name_zh=account.name_zh,
        name_en=account.name_en,
        region=region,
        sites=_sites(account),
        scopes=frozenset(session.scopes) if session.kind == "bearer" else None,
        csrf_token=session.csrf_token,
        must_change=by_password and account.password_by is SetBy.OPERATOR and account.role not in MACHINES,
        must_enrol=account.role in factor_roles and "factor" not in session.extra,
    )
    if reach(account.role, Right.BREAK_GLASS) is not None and not session.scopes:
        broken = broken_glass.open_of(connection, account.username, now_ns)
        principal = replace(principal, opened=frozenset((one.site, one.person_id) for one in broken))
    if account.role in ELSEWHERE:
        return replace(principal, withheld=consents.refusing(connection, region, Purpose.SHARING))
    if account.role not in OWN_ONLY:
        return principal
    return replace(principal, persons=care_team.own_persons(connection, region, account, now_ns))


def of_display(shown: Display, session: Session) -> Principal:
    """Return a wall display, which is nobody: it stands for its site and has the role that shows a wall."""
    return Principal(
        username=session.username,
        role=Role.DISPLAY,
        name_zh=shown.name,
        name_en=shown.name,
        region=shown.region,
        sites=frozenset({shown.site}),
        csrf_token=session.csrf_token,
    )


def _sites(account: Account) -> frozenset[str] | None:
    """Return the sites of an account: an empty list is the whole region for those who serve it, else nothing."""
    return None if account.role in REGIONAL and not account.sites else frozenset(account.sites)
