"""No tests of exported files where the libraries that read and write them are missing."""

import pytest

LIBRARIES = "onnx", "onnxruntime", "openvino", "nncf"


@pytest.fixture(scope="session", autouse=True)
def libraries():
    """Skip where the `export` extra is not installed."""
    from alexnet.exporting.libraries import library

    for name in LIBRARIES:
        try:
            library(name)
        except RuntimeError as error:
            pytest.skip(str(error))
