"""Trained networks for other programs: ONNX, OpenVINO IR, torch.export, a folder for the hub.

An exported file (.onnx, .xml with .bin, .pt2) has one of two kinds of input::

    records   uint8 (N, side, side, 3), RGB
              ──> crop, mean, scale ──> network ──> softmax ──> probabilities (N, classes)
    images    float32 (N, 3, crop, crop), prepared by the program that uses the file
              ──> network ──> logits (N, classes)

The steps of an export, with the module of each:

* `translation`: torch.export lists the network's operators, and each becomes ONNX operators
  (`operators`) in a graph under construction (`onnx_graph`).
* `preprocessing_graph`: preprocessing and softmax are added around the network.
* `writing`: the file is written; for int8 it is quantized first.
* `comparison`: the file is run (`runtimes`) and compared with the network.
* `torch_program`: a .pt2 needs none of these; torch.export records the network with references.
* `hub`: neither does a folder for the hub; it holds weights, and `hub_card` writes its card.
* `export`: all of this, keeping what was written only if it agrees with the network.

`metadata` describes the classes and the preprocessing in a file, `card` is the model card in plain
sentences, and `libraries` imports the optional packages. `alexnet export` and `predict.load` call
this folder; it must not import them.
"""
