"""Trained networks as files that other programs run: ONNX and OpenVINO IR."""
