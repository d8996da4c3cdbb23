"""A bad link on demand: packets, datagrams or byte streams pass through it and are shaped in both directions."""
