"""The role matrix: tables written by hand from clinical 9.1, and what reads them."""
