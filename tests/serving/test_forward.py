"""What the network says of a batch, compared with the classifier, and its explanation."""

import numpy as np
import pytest
import torch
from tests.conftest import picture

from alexnet.serving.forward import BatchForward, Question


@pytest.fixture(scope="module")
def forward(classifier):
    return BatchForward(classifier)


def test_layers_are_those_of_the_network(forward):
    assert next(iter(forward.layers)) == "conv1"
    assert forward.layers["fc4"] == (3,)
    assert (forward.first_layer, forward.heat_layer) == ("conv1", "conv3")


def test_probabilities_and_features_equal_those_of_the_classifier(forward, classifier):
    images = [picture(k % 3, 40 + k) for k in range(5)]
    answers = forward([Question(image, layer="pool3") for image in images])
    likely = torch.stack([answer.probabilities for answer in answers])
    assert torch.allclose(likely, classifier.probabilities(images), atol=1e-6)
    features = np.stack([answer.features for answer in answers])
    np.testing.assert_allclose(features, classifier.features(images, "pool3"), atol=1e-4)
    (alone,) = forward([Question(images[0])])
    assert torch.equal(alone.probabilities, classifier.probabilities(images[0])[0])
    assert alone.features is None


def test_questions_of_different_kinds_are_answered_in_their_order(forward, classifier):
    images = [picture(k % 3, 60 + k) for k in range(4)]
    kinds = [{"views": 10}, {"explain": True}, {"views": 1}, {"views": 10}]
    answers = forward([Question(x, **kind) for x, kind in zip(images, kinds, strict=True)])
    for image, kind, answer in zip(images, kinds, answers, strict=True):
        wanted = classifier.probabilities(image, views=kind.get("views", 1))[0]
        assert torch.allclose(answer.probabilities, wanted, atol=1e-5)
        assert (answer.explanation is not None) == kind.get("explain", False)


def test_an_explanation_has_heat_responses_and_the_most_probable_label(forward, classifier):
    image = picture(1, 77)
    (answer,) = forward([Question(image, explain=True)])
    found = answer.explanation
    assert classifier.classes[found.label] == classifier.predict(image).labels[0]
    assert found.heat.shape == forward.layers["conv3"][1:]
    assert found.heat.min() >= 0
    assert found.heat.max() > 0
    wanted = classifier.features(image, "conv1")[0].numpy()
    np.testing.assert_allclose(found.responses, wanted, atol=1e-4)
