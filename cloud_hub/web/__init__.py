"""The hub's HTTP face: JSON API, live socket, sign-in, and the files of the screens.  FastAPI is allowed here.

Every route names the right it needs with `guard.require`; what stays open is listed in `guard.OPEN_PATHS`.
"""
