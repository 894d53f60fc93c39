"""An index of the tiny pack, made by the network of the run."""

import pytest

from alexnet.search.build import build_index


@pytest.fixture(scope="session")
def tiny_index(run, tiny_pack, tmp_path_factory):
    """Features of 150 training and 60 validation pictures: the last hidden layer, float16."""
    return build_index(run, tiny_pack, tmp_path_factory.mktemp("indexes") / "tiny", device="cpu")
