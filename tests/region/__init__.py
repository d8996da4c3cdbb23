"""A whole region of real processes, for flow and browser tests and for the bench."""
