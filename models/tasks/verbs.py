"""What a task offers on the command line."""

from argparse import ArgumentParser, Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verb:
    """One thing that can be done with a task."""

    says: str
    """What it does, in the help."""
    describe: Callable[[ArgumentParser], None]
    """Adds its options."""
    run: Callable[[Namespace], None]


Verbs = Mapping[str, Verb]
"""By name: train, evaluate, export and what else a task has."""
