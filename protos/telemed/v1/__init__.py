"""Generated protobuf code of version 1 of the contracts (`make protos`); imported as `telemed.v1`."""
