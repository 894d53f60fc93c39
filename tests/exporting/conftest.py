"""Skips the tests of exported files if the libraries that read and write them are missing."""

import pytest

LIBRARIES = "onnx", "onnxruntime", "openvino", "nncf"


@pytest.fixture(scope="session", autouse=True)
def libraries():
    """Skip if the `export` extra is not installed."""
    from alexnet.exporting.libraries import import_library

    for name in LIBRARIES:
        try:
            import_library(name)
        except RuntimeError as error:
            pytest.skip(str(error))
