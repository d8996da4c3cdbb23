"""Use cases: one transaction with its audit entry each.  Imports `access`, `store` and `care`, never the web."""
