"""The hub's FHIR R4 (4.0.1) face: read and search of Patient, Observation and Device, and the CapabilityStatement.

Nothing is kept here: resources are composed on read from what was stored.  May import `access`, `store`, `care`.
"""
