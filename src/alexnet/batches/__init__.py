"""From the records of a pack to batches on the device.

The steps from a pack to a training batch::

    pack (uint8 records) ── seed, epoch ──> draw_order            which images, in which order
            │                    └────────> draw_augmentation     where to crop, whether to mirror,
            │                                    │                which color shift
            v                                    v
      records of the batch ───────────────> crop kernel           `kernels.crop`: crop, mirror,
      uint8 (N, *record_shape)                   │                subtract the mean, shift, scale
                                                 v
                                            float batch           (N, 3, crop, crop), channels_last

The modules, from the bottom:

* `preprocessing`: what turns records into network input; it is saved in every checkpoint.
* `augment`: the random choices of an epoch, and the arithmetic that applies them.
* `transfer`: threads and copies that bring records to the device while the network runs.
* `loaders`: the host, the resident and the streaming loader, and the choice between them.
* `epochs`: the training batches of an epoch.
* `views`: the center view and the ten views of section 4.1, for evaluation and prediction.

Training, evaluation and prediction call this folder. It must not import any of them.
"""
