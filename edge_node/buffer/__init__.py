"""The edge's store: outbox, history and event log in SQLite; acknowledged only after a synced commit.

May import samples, errors, config and the contracts; nothing above it.
"""
