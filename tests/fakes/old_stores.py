"""Databases of the hub as an older version left them."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, create_engine, text

from cloud_hub.store.engine import MIGRATIONS
from cloud_hub.store.schema import CARE, SAMPLES


def make_old_store(path: Path, revision: str) -> None:
    """Make a SQLite file of a store as it was at a revision, such as "care_0006"; it is of the store it begins with."""
    store = revision.partition("_")[0]
    settings = Config()
    settings.set_main_option("script_location", str(MIGRATIONS))
    settings.set_main_option("version_locations", str(MIGRATIONS / store))
    settings.set_main_option("path_separator", "newline")
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        settings.attributes["connection"] = connection
        settings.attributes["metadata"] = {"care": CARE, "samples": SAMPLES}[store]
        command.upgrade(settings, revision)
    engine.dispose()


def drop_what_0024_makes(connection: Connection) -> None:
    """Make the care store in this respect what it was before the migration care_0024, which is then run once more."""
    made = ("bed_stay_open", "referral_head_region_state", "alarm_person_id", "audit_head_at_ns_n", "stream_site")
    for index in made:
        connection.execute(text(f"DROP INDEX ix_{index}"))
