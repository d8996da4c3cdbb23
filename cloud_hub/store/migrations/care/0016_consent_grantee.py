"""Mends what was kept of a "no" that named somebody although its purpose names nobody.

Such a withdrawal became a row of its own beside the consent, which went on as given.  Both rows say when they were
changed last, so that it is sure which came later; of the same instant the "no" counts.
"""

import sqlalchemy as sa
from alembic import op

revision = "care_0016"
down_revision = "care_0015"
branch_labels = None
depends_on = None

NAMED = "C5"
"""The one purpose that is given to somebody by name."""


def upgrade() -> None:
    """Join the rows; a "yes" that came later stays."""
    consent = sa.table(
        "consent",
        *(sa.column(name) for name in ("region", "site", "person_id", "purpose", "grantee")),
        sa.column("is_given", sa.Boolean()),
        *(sa.column(name, sa.BigInteger()) for name in ("until_ns", "updated_ns")),
    )
    c, connection = consent.c, op.get_bind()
    astray = sa.and_(c.purpose != NAMED, c.grantee != "", c.is_given.is_(False))
    said = sa.select(c.region, c.site, c.person_id, c.purpose, sa.func.max(c.updated_ns).label("at_ns"))
    rows = connection.execute(said.where(astray).group_by(c.region, c.site, c.person_id, c.purpose)).all()
    connection.execute(sa.delete(consent).where(astray))
    for row in rows:
        mine = (c.person_id == row.person_id, c.purpose == row.purpose, c.grantee == "")
        ended = {"is_given": False, "updated_ns": row.at_ns}
        connection.execute(sa.update(consent).where(*mine, c.updated_ns <= row.at_ns).values(ended))
        if connection.execute(sa.select(c.person_id).where(*mine)).first() is None:
            named = {name: getattr(row, name) for name in ("region", "site", "person_id", "purpose")}
            connection.execute(sa.insert(consent).values(**named, **ended, grantee="", until_ns=0))
