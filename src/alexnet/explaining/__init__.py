"""What a trained network does, as data that can be looked at: computed here, drawn by `show`.

    RUN, PACK ─ subject.open_subject ─► Subject: network, preprocessing, images
                    │
                    ├ kernels      the first layer's weights, by tower
                    ├ outputs      probabilities and features of many images, in one pass
                    │    └ projection   features as points of a plane
                    ├ augmented    an image as training and evaluation see it
                    └ heat_maps    what decided: Grad-CAM and occlusion

Every function returns NumPy arrays. `show.figures` and the page call this folder; it must not
import `training`, `show` or matplotlib.
"""
