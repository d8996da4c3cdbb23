"""Figures of speed (`make bench`): ratios measured in one run, as JSON and as a table in bench/."""
