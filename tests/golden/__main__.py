"""Write golden files: python -m tests.golden NETWORK… losses

Each holds expected values of tests: the layers of a network, or the first losses of a training.
Read the difference (`git diff`) before you commit it.
"""

import json
import sys
import tempfile
from pathlib import Path

from tests.conftest import QUICK, pictures
from tests.training.test_train import twenty_losses

from alexnet import nets
from alexnet.packing.pack import pack

HERE = Path(__file__).parent


def compute_rows(name):
    """Return the rows of a golden file. Each is written as one line, for readable differences."""
    if name == "losses":
        with tempfile.TemporaryDirectory() as folder:
            tiny = pack(pictures(), Path(folder) / "tiny.pack", processes=1)
            return twenty_losses(tiny, Path(folder) / "run", QUICK)
    return [
        [layer.name, list(layer.shape), layer.parameters, layer.multiply_adds]
        for layer in nets.list_layers(name)
    ]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in compute_rows(name)) + "\n]\n"
        (HERE / f"{name}.json").write_text(text)
