"""Studies read by the models on duty: which is due, its series as a volume, what the model says, as DICOM objects.

`child` and what it imports run in a process of their own, which alone opens images; `readings` and `reader` run in the
node's.  Joins the stages imaging and inference; imported by `app` alone.
"""
