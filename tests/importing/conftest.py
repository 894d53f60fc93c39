"""Weights of other programs' networks, and some photographs as records."""

import numpy as np
import pytest
import torch
from tests.conftest import picture
from tests.importing import foreign


@pytest.fixture(scope="package")
def reference():
    """torchvision's network with new weights, as its constructor draws them."""
    torch.manual_seed(0)
    return foreign.torchvision_alexnet()


@pytest.fixture(scope="package")
def caffe():
    """Weights of Caffe's networks, by layer."""
    return foreign.caffe_weights()


@pytest.fixture(scope="package")
def photographs():
    """Two images as all programs have them after resizing: uint8 (2, 256, 256, 3)."""
    return np.stack([picture(label, 3, 256) for label in (0, 1)])
