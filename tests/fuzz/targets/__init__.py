"""The targets, a module for each border; they are listed in `tests.fuzz.listing`."""
