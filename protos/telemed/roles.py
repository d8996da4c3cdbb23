"""Roles as they travel in events and tokens (clinical 9.1), first form."""

from enum import StrEnum


class Role(StrEnum):
    """What a person is to the system; rights are deny by default and granted per role and site."""

    PHYSICIAN = "physician"  # hub physician: whole region
    CLINIC = "clinic"  # clinic doctor: own site
    CAREGIVER = "caregiver"  # family: own person only, read
    OPERATOR = "operator"  # devices and links, never clinical data
    PROGRAM = "program"  # API client with named scopes
