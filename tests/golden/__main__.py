"""Write the golden table of a network: python -m tests.golden NAME. Read it before committing it."""

import json
import sys
from pathlib import Path

from alexnet import nets

for name in sys.argv[1:]:
    rows = [[x.name, list(x.shape), x.parameters, x.multiply_adds] for x in nets.layers(name)]
    text = "[\n" + ",\n".join(f"  {json.dumps(row)}" for row in rows) + "\n]\n"
    Path(__file__).with_name(f"{name}.json").write_text(text)
