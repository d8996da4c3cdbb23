"""The node's own state, for people and programs that watch it: /healthz, /readyz, /metrics."""
