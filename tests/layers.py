"""The layers of the package, from the top: each imports only from those above it.

`test_imports` holds every module to this list, and CONTRIBUTING.md shows it: write it there anew
with `python -m tests.layers`.
"""

from pathlib import Path

PAGE = Path(__file__).parents[1] / "CONTRIBUTING.md"
BEGIN, END = "<!-- layers -->\n", "<!-- end of layers -->\n"

LAYERS = {
    "validate": "JSON from outside, checked against types",
    "terminal": "text from outside, made safe to print",
    "notebook": "a line of progress in a notebook",
    "files": "files written whole or not at all, folders locked",
    "connections": "connections between the processes of one job",
    "heartbeats": "a process that is killed or frozen ends the others of its job",
    "processes": "the processes of one job; the only module that knows torch.distributed",
    "processor": "what the CPU can do, and which of its instructions MKL uses",
    "device": "the device, its precision, its threads, what makes results repeat on it",
    "colors": "JPEG's conversion between RGB and YUV",
    "fonts": "which installed font has a letter",
    "recipes": "a training described whole; the named ones; the 2012 lab notes",
    "kernels": "the operations, one folder each: operator, reference, CPU kernel, CUDA kernel",
    "nets": "the networks, one file a paper",
    "parallel": "a network over several processes: towers, shards, what they exchange",
    "sources": "where labeled images are found: folders, lists, archives, data sets",
    "images": "image files decoded, and made into records of one size",
    "packs": "the pack: its files read, described, checked",
    "packing": "the pack: how it is made",
    "batches": "records cropped, mirrored and colored into batches; loaders",
    "checkpoint": "a saved training, whole",
    "runs": "the folder of a training",
    "evaluation": "errors counted, scores, ensembles, submissions",
    "training": "the training step, the schedule, the loop, its log",
    "importing": "weights of other programs made a run",
    "exporting": "a network as ONNX, OpenVINO, a PyTorch program or a folder for the hub",
    "predict": "a trained network as a classifier",
    "explaining": "what a network learned and what decided, as arrays to look at",
    "search": "features of images in an index, and the images nearest to a query",
    "claims": "the paper's statements as data and as commands that test them",
    "show": "figures and the report, made from files",
    "serving": "a trained network as a web page and an HTTP API",
    "screen": "progress and tables on a terminal",
    "commands": "the command line, one file a command",
    "interactive": "a training as a notebook or a script starts it",
    "cli": "where the command line begins",
}


def table() -> str:
    """The layers as CONTRIBUTING.md shows them."""
    rows = (f"| `{name}` | {about} |\n" for name, about in LAYERS.items())
    return "".join(("| layer | what is in it |\n|---|---|\n", *rows))


def shown() -> str:
    """The layers as CONTRIBUTING.md shows them now."""
    return PAGE.read_text().partition(BEGIN)[2].partition(END)[0]


if __name__ == "__main__":
    text = PAGE.read_text()
    before, _, rest = text.partition(BEGIN)
    PAGE.write_text(before + BEGIN + table() + END + rest.partition(END)[2])
