"""Alarm rules and the alarm's conversation: pure decisions, and the ward that joins them to what arrives."""
