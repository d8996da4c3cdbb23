"""What reaches a node as something else than DICOM: volumes, photos and documents, made into DICOM of a known person.

`making` and what it imports run in a process of their own, which alone opens files; `imports`, `inbox` and `converting`
run in the node's.  Joins the stages imaging and inference (whose confinement it uses); imported by `app` alone.
"""
