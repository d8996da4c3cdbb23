"""Domain of the edge, pure: samples, waveforms, windows over them.  Imports `telemed` and the standard library only."""
