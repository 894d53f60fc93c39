"""A trained network as a classifier: `load` a run, then `Classifier.predict` images.

    images        what a user may give as an image, and the errors for anything else
    prediction    Prediction and ImageFeatures: what is known of one image, and how it is shown
    classifier    Classifier: a network with its classes and its preprocessing
    loading       load: the classifier of a run, a file or a folder for the hub; load_weights

`alexnet.load`, `alexnet.load_weights`, `alexnet.Classifier` and `alexnet.Prediction` are public.
Commands, claims, search, figures and the server import from here.
"""

from alexnet.predict.classifier import Classifier
from alexnet.predict.images import Image
from alexnet.predict.loading import load, load_weights
from alexnet.predict.prediction import ImageFeatures, Prediction

__all__ = ["Classifier", "Image", "ImageFeatures", "Prediction", "load", "load_weights"]
