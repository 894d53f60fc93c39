"""One network spread over several processes: as two towers, or as replicas that share shards.

`exchange` has what is sent in a step, with gradients, and sums over a fixed tree; `parts` cuts
layers into parts, and cuts and joins parameters by name. `towers` gives each process one tower
(Figure 2); `hybrid` gives each the whole convolutions and some shards of the fully connected layers
(arXiv 1404.5997). `traffic` counts the bytes that each of them sends. Called by `training`.
"""
