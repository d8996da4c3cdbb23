"""Tele-consultations at the hub: rooms with one state each, and the way of their signals.

No media passes here: pictures and voices go from browser to node and from browser to browser.
May import access, errors, config and the contracts; the store is reached through a function that app.py gives.
"""
