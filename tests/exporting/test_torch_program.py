"""Files of torch.export: PyTorch's own operators only, the same numbers, never opened by `load`."""

import io
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from tests.conftest import TRAINED, pictures

import alexnet
from alexnet import checkpoint as checkpoints
from alexnet import nets
from alexnet.evaluation.ensemble import predict_split
from alexnet.exporting.export import export
from alexnet.exporting.torch_program import trace_module, trace_program
from alexnet.packing.pack import pack
from alexnet.training.train import train

KINDS = "cifar-18pct", "cifar-11pct", "figure1-tanh", "original-145", "original-120"
"""Networks that together have every kind of layer."""
WITHOUT_THIS_PACKAGE = """
import json, sys
import numpy as np
import torch

extra = {"alexnet.json": ""}
program = torch.export.load(sys.argv[1], extra_files=extra).module()
records = torch.from_numpy(np.load(sys.argv[2]))
parts = torch.cat([program(records[:1]), program(records[1:])])
np.save(sys.argv[3], parts.detach().numpy())
assert "alexnet" not in sys.modules
print(extra["alexnet.json"])
"""


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_network_is_traced_into_operators_of_pytorch(name):
    size = min(nets.find(name).size, 99)
    network = nets.build(name, 7, size)
    torch.manual_seed(0)
    network.initialize("variance")
    program = trace_module(network, torch.zeros(2, 3, size, size))
    assert not [node for node in program.graph.nodes if "alexnet" in str(node.target)]
    file = io.BytesIO()
    torch.export.save(program, file)
    opened = torch.export.load(io.BytesIO(file.getvalue()))
    x = 50 * torch.randn(3, 3, size, size)
    with torch.inference_mode():
        wanted, found = network(x), opened.module()(x)
    torch.testing.assert_close(found, wanted, rtol=0, atol=2e-5 * float(wanted.abs().max()))


def test_any_program_gets_probabilities_of_records(run, tiny_pack, tmp_path):
    path = tmp_path / "net.pt2"
    exported = export(run, path)
    assert (exported.precision, exported.images) == ("float32", 32)
    assert exported.difference < 1e-5
    assert exported.whole_difference < 1e-5
    np.save(tmp_path / "records.npy", tiny_pack.splits["val"].gather(range(60)))
    words = [sys.executable, "-c", WITHOUT_THIS_PACKAGE, path]
    files = [tmp_path / "records.npy", tmp_path / "found.npy"]
    done = subprocess.run([*words, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    wanted = predict_split(run, tiny_pack.path, device="cpu").probabilities
    np.testing.assert_allclose(np.load(files[1]), wanted, atol=1e-4)
    about = json.loads(done.stdout)
    assert (about["takes"], about["classes"]) == ("records", ["rings", "stripes", "spots"])


def test_the_network_alone_gives_logits(run, tmp_path):
    exported = export(run, tmp_path / "net.pt2", network_only=True)
    assert exported.whole_difference is None
    assert exported.difference < 1e-5


def test_yuv_records_are_rounded_as_a_pack_stores_them(tmp_path):
    made = pack(pictures(6, 2), tmp_path / "yuv.pack", processes=1, pixels="yuv420")
    train(made, tmp_path / "run", TRAINED, device="cpu", log_seconds=60)
    exported = export(tmp_path / "run", tmp_path / "net.pt2")
    assert exported.difference < 1e-4


def test_a_program_is_not_opened_because_that_can_run_code(run, tmp_path):
    path = tmp_path / "net.pt2"
    export(run, path)
    with pytest.raises(ValueError, match=r"opening a .pt2 can run any code that is in it"):
        alexnet.load(path)


def test_a_program_has_weights_by_the_names_of_the_layers(run):
    trained = checkpoints.load(run / "best.safetensors")
    program = trace_program(trained, "images")
    assert program.state_dict.keys() == trained.weights.keys()
