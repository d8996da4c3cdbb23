"""Bedside monitors that speak HL7 v2 ORU^R01 over MLLP (clinical 3.1 and 3.2).

Pure: `mllp`, `frames`, `timestamps`, `codes`, `identity`, `numerics`, `waves`, `observations`,
`acknowledgement`, `devclock`.  `driver` alone does input and output.
"""
