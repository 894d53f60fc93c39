"""Images find themselves and their like in an index that their network made."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from tests.conftest import picture

import alexnet
from alexnet import checkpoint
from alexnet.search.build import build_index
from alexnet.search.index import FeatureIndex
from alexnet.search.schema import CheckpointReference
from alexnet.search.similar import find_similar, open_search


@pytest.fixture(scope="module")
def search(run, tiny_index):
    with open_search(run, tiny_index, device="cpu") as opened:
        yield opened


def test_the_nearest_image_to_an_image_of_the_index_is_itself(search, tiny_index, tiny_pack):
    split = tiny_pack.splits["train"]
    indices = [0, 70, 149]
    found = list(search.stream(list(split.gather(indices)), k=3))
    assert [x.similar[0].index for x in found] == indices
    assert [x.similar[0].name for x in found] == [split.name(i) for i in indices]
    for result in found:
        distances = [x.distance for x in result.similar]
        assert distances == sorted(distances)
        assert distances[0] < 0.01 * distances[1]
        assert result.similar[0].label == result.similar[0].name.split("/")[1]


def test_in_the_same_batch_an_image_is_at_no_distance_from_itself(search, tiny_pack):
    split = tiny_pack.splits["val"]
    found = search.stream(list(split.gather(range(60))), k=1, split="val")
    assert [(x.similar[0].index, x.similar[0].distance) for x in found] == [
        (150 + i, 0) for i in range(60)
    ]


def test_most_similar_images_are_of_the_same_class(search):
    queries = [picture(k % 3, 700 + k) for k in range(30)]
    found = [x.similar[0].label for x in search.stream(queries)]
    right = sum(label == search.index.classes[k % 3] for k, label in enumerate(found))
    assert right > 15  # by chance it would be 10


def test_the_search_can_be_limited_to_a_split(search, tiny_pack):
    (found,) = search.stream(list(tiny_pack.splits["train"].gather([0])), split="val")
    assert {x.split for x in found.similar} == {"val"}
    with pytest.raises(ValueError, match="no images of test; it has train, val"):
        next(search.stream([picture(0, 0)], split="test"))


def test_an_unreadable_image_is_an_error_in_its_place(search, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"nothing")
    images = [picture(0, 0), tmp_path / "bad.png", tmp_path / "gone.png", picture(1, 1)]
    found = list(search.stream(images, k=2))
    assert [bool(x.error) for x in found] == [False, True, True, False]
    assert found[1].to_dict() == {"image": str(tmp_path / "bad.png"), "error": found[1].error}
    assert [len(x.similar) for x in found] == [2, 0, 0, 2]
    assert found[0].record.shape == (32, 32, 3)


def test_all_images_unreadable_are_errors_too(search, tmp_path):
    (found,) = search.stream([tmp_path / "gone.png"])
    assert "No such file" in found.error


def test_cosine_distance_ignores_the_length_of_features(run, tiny_index):
    (found,) = find_similar(run, tiny_index, [picture(2, 5)], 4, metric="cosine", device="cpu")
    q = alexnet.load(run, "cpu").features(picture(2, 5), "pool3").flatten().half().double().numpy()
    x = tiny_index.gather([image.index for image in found.similar]).astype(np.float64)
    cosines = x @ q / np.linalg.norm(x, axis=1) / np.linalg.norm(q)
    np.testing.assert_allclose([x.distance for x in found.similar], 1 - cosines, rtol=1e-6)


def test_another_network_is_refused(run, tiny_index):
    origin = tiny_index.metadata.origin
    other = replace(origin, checkpoint=CheckpointReference("/runs/x/best.safetensors", "0" * 64))
    index = FeatureIndex(tiny_index.path, replace(tiny_index.metadata, origin=other))
    with pytest.raises(ValueError, match=f"another network than that of {run}: by /runs/x/best"):
        open_search(run, index, device="cpu")


def test_either_checkpoint_of_a_run_can_have_made_the_index(run, tiny_pack, tmp_path):
    trained = checkpoint.load(checkpoint.find(run))
    checkpoint.save(trained, tmp_path / "best.safetensors")
    trained.weights["fc4.bias"].copy_(torch.arange(3))
    checkpoint.save(trained, tmp_path / "last.safetensors")
    last = tmp_path / "last.safetensors"
    index = build_index(last, tiny_pack, tmp_path / "x", split="val", device="cpu")
    with open_search(tmp_path, index, device="cpu") as search:
        assert search.classifier.network.fc4.bias.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match="made by another network"):
        open_search(tmp_path / "best.safetensors", index, device="cpu")
