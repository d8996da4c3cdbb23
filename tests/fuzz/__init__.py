"""Fuzzing of everything that reads what others wrote: one target for each reader, each with what it promises.

Hypothesis drives the targets in CI (`test_targets.py`), atheris by coverage (`python -m tests.fuzz`, `make fuzz`).
"""
