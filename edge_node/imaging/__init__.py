"""Images at the node: receiver processes take DICOM objects in, the node's process commits, gathers and hands on.

`receiver`, `association`, `intake`, `reading`, `objects`, `watched` and `retrieval` run in the receivers, which write
no database; `host`, `catalog`, `rows`, `delivery` and `node` in the node's process, which reads no data sets.  Imports
config, errors, samples and the contracts only.
"""
