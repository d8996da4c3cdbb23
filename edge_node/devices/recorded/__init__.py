"""Recordings as devices (clinical 3.5): WFDB read by NumPy alone, EDF by edfio; stamped as replay.

The readers and `timeline` decide what is played and when; `driver` delivers it.
"""
