"""Routes of `/api/v1`, one module per resource; each exposes `router`."""
