"""How a node comes by its certificate: enrolled once by a token, renewed by itself; may import gRPC."""
