"""Proof by injected faults: a random schedule of crashes and bad links against real processes, with the invariants."""
