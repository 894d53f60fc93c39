"""An index as the page's nearest images."""

import numpy as np
import pytest
from starlette.testclient import TestClient
from tests.serving.conftest import BASE, HEADERS, encode

from alexnet.packs.pack import open_pack
from alexnet.search.build import build_index
from alexnet.serving.app import make_app
from alexnet.serving.neighbors import open_neighbors


@pytest.fixture(scope="module")
def index(run, tiny_pack, tmp_path_factory):
    folder = tmp_path_factory.mktemp("indexes") / "index"
    build_index(run, tiny_pack, folder, layer="pool3", split="val", device="cpu")
    return folder


def test_an_image_of_the_index_is_its_own_nearest_image(classifier, index, tiny_pack):
    record = tiny_pack.splits["val"].gather(np.array([7]))[0]
    with TestClient(make_app(classifier, "x", neighbors=open_neighbors(index)), BASE) as client:
        answer = client.post("/v1/similar?count=3", content=encode(record), headers=HEADERS)
        first, second, _ = answer.json()["images"]
        assert (first["position"], first["label"]) == (7, tiny_pack.classes[7 % 3])
        assert first["name"] == tiny_pack.splits["val"].name(7)
        assert 0 <= first["distance"] < second["distance"]
        shown = client.get(first["image"])
    assert shown.content == encode_again(record)


def encode_again(record):
    from alexnet.images.png import encode_png

    return encode_png(record)


def test_without_its_pack_an_index_has_no_pictures(index, tmp_path, monkeypatch):
    from alexnet.search.index import FeatureIndex

    def missing(self, path=None):
        raise FileNotFoundError("moved")

    monkeypatch.setattr(FeatureIndex, "open_pack", missing)
    assert open_neighbors(index).read_picture(0) is None
    with pytest.raises(IndexError):
        open_neighbors(index).read_picture(10_000)


def test_a_pack_that_was_named_must_be_the_one_of_the_index(index, tiny_pack, tmp_path):
    assert open_neighbors(index, tiny_pack.path).read_picture(3).shape == (32, 32, 3)
    from tests.conftest import pictures

    from alexnet.packing.pack import pack

    other = pack(pictures(3, 0), tmp_path / "other.pack", processes=1)
    assert open_pack(other.path).checksum != tiny_pack.checksum
    with pytest.raises(ValueError, match="which has other images"):
        open_neighbors(index, other.path)
