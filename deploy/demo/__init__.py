"""The demo: one region with a clinic and a home ward, played by real processes over real sockets (`make demo`)."""
