"""From a trained network to a graph that the edge may run: ONNX with static shapes and known operators."""
