"""What the hub keeps: SQLAlchemy 2 on SQLite or PostgreSQL, forward-only migrations.

Two databases: samples (measurements as received) and care (events, persons, alarms, accounts).  May import
`care`, `errors` and `config`; the differences of the dialects live in `dialect` alone.
"""
