"""A detector as a file that runs without this package's network: ONNX, torch.export, and its use in ONNX Runtime."""
