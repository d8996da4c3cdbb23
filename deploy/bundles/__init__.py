"""Making and signing model bundles, with keys that are never on a hub or a node."""
