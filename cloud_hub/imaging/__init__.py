"""Images at the hub: so far what makes a DICOM file fit to leave for research."""
