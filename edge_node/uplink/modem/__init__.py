"""The mobile link itself, as the edge sees it: what the modem sees, and which SIM to use; imports errors alone."""
