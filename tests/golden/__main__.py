"""Write golden files: python -m tests.golden NETWORK… losses. Read what was written."""

import json
import sys
import tempfile
from pathlib import Path

from tests.conftest import QUICK, pictures
from tests.training.test_train import twenty_losses

from alexnet import nets
from alexnet.packing.pack import pack

HERE = Path(__file__).parent


def rows(name):
    """One line a row, so that a change shows as one."""
    if name == "losses":
        with tempfile.TemporaryDirectory() as folder:
            tiny = pack(pictures(), Path(folder) / "tiny.pack", processes=1)
            return twenty_losses(tiny, Path(folder) / "run", QUICK)
    return [[x.name, list(x.shape), x.parameters, x.multiply_adds] for x in nets.list_layers(name)]


if __name__ == "__main__":
    for name in sys.argv[1:]:
        text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows(name)) + "\n]\n"
        (HERE / f"{name}.json").write_text(text)
