"""The training, from a recipe and a pack to a run.

    train       the public function: checks, starts or resumes a training
    refusals    packs, recipes and checkpoints that do not fit each other
    loop        the steps of an epoch, and what happens between them
    step        forward and backward pass of a batch, on a GPU as a CUDA graph
    sgd         the update of the weights (section 5)
    schedule    the learning rates as functions of the position
    transfer    layers taken from a trained network
    memory      how much memory of a GPU a training takes
    meter       losses read and reported
    log         log.jsonl, TensorBoard, the screen
    messages    the messages of a training
    saving      the files that a training writes
    interrupt   SIGINT, SIGTERM and SIGHUP

Importing this package imports none of them: `interrupt` must be imported before torch.
"""
