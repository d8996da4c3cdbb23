"""gRPC face of the hub: transfer of files with nodes; knows the care store and the blob folder."""
