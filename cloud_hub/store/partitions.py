"""Days of the `record` table on PostgreSQL: made ahead, so that a record never meets a missing one.

A record whose day has no partition goes to the DEFAULT one: a wrong clock, or a long outage.  Its rows are
counted for the operator.  On SQLite there is one table and nothing to do.
"""

from sqlalchemy import Connection, text

from cloud_hub.store.dialect import is_postgres

DAYS_BACK = 7
DAYS_AHEAD = 7


def prepare(connection: Connection, today: int) -> int:
    """Make the days around `today` (days since 1970); return how many records stand in no day.

    Called at start and once a day.  A day that already has records in DEFAULT stays there.
    """
    if not is_postgres(connection):
        return 0
    taken = set(connection.execute(text("SELECT DISTINCT edge_day FROM record_default")).scalars())
    for day in range(today - DAYS_BACK, today + DAYS_AHEAD + 1):
        if day not in taken:
            span = f"FROM ({day}) TO ({day + 1})"
            connection.exec_driver_sql(
                f"CREATE TABLE IF NOT EXISTS record_day_{day} PARTITION OF record FOR VALUES {span}"
            )
    return int(connection.execute(text("SELECT count(*) FROM record_default")).scalar_one())
