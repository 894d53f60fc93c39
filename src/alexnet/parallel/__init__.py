"""One network spread over several processes: as two towers, or as replicas that share shards.

    exchange    what is sent in a step, with gradients; sums over a fixed tree
    parts       layers cut into parts; parameters cut and joined by name
    towers      each process has one tower of the network (Figure 2)
    hybrid      whole convolutions, shards of the fully connected layers (arXiv 1404.5997)
"""
