"""What surrounds each model graph: named, versioned recipes from studies to tensors and from outputs to findings.

Pure NumPy, so that a machine that runs a graph needs nothing that trains one.  A bundle names the recipe it was trained
with and never carries code; a recipe whose results change gets a new name.
"""
