"""Weights of other programs become a run: torchvision's `alexnet`, Caffe's two networks.

    FILE ──read──▶ tensors by its own names ──rename, convert──▶ weights, preprocessing ──▶ RUN

    torch_files   .pth and .safetensors: tensors by name
    protobuf      the wire format of protocol buffers, field by field
    caffe_files   .caffemodel and .binaryproto: layers with their arrays
    layouts       which network a file holds; its names become this package's
    conversion    colors, scale, mean: what this package's preprocessing cannot do, conv1 does
    class_names   the file with the names of the classes
    run           `import_weights`: all of the above, and the folder of the run

`alexnet import` calls `import_weights`. What it writes is a checkpoint like any other, so every
command that opens a run works on it. Nothing here trains or predicts, and nothing is unpickled but
by `torch.load(weights_only=True)`. Every file is treated as hostile: sizes are compared with the
file's before memory is taken.
"""
