"""Results repeat bit for bit, at other addresses and in another process."""

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
import torch.nn.functional as F
from tests.training.test_train import Listener, assert_same

from alexnet import device as devices
from alexnet.kernels import convolve, norm_pool, relu_pool
from alexnet.kernels.within_channel.operator import within_channel_norm
from alexnet.nets.layers import convolve_space_to_depth
from alexnet.processor import find_bf16_units, read_mkl_mode
from alexnet.training.train import train

WORK = {
    "product": (lambda x, w: x @ w, (33, 67), (67, 45)),
    "products": (torch.bmm, (5, 33, 67), (5, 67, 45)),
    "linear": (F.linear, (16, 260), (129, 260), (129,)),
    "few images": (F.linear, (2, 576), (10, 576), (10,)),
    "few classes": (F.linear, (64, 1024), (10, 1024), (10,)),
    "loss": (lambda x: F.cross_entropy(x, torch.arange(16)), (16, 101)),
    "conv1": (lambda x, w, b: F.conv2d(x, w, b, stride=4), (2, 3, 67, 67), (32, 3, 11, 11), (32,)),
    "space to depth": (
        lambda x, w, b: convolve_space_to_depth(x, w, b, 4),
        *((2, 3, 64, 64), (32, 3, 11, 11), (32,)),
    ),
    "library's": (F.conv2d, (2, 24, 13, 13), (40, 24, 5, 5), (40,)),
    "winograd 3": (convolve, (8, 64, 18, 18), (64, 64, 3, 3), (64,)),
    "winograd 5": (convolve, (8, 64, 20, 20), (64, 64, 5, 5), (64,)),
    "norm, pool": (norm_pool, (3, 96, 15, 15)),
    "pool": (relu_pool, (3, 70, 13, 13)),
    "mean pool": (lambda x: relu_pool(x, kind="avg"), (3, 70, 13, 13)),
    "within-channel norm": (lambda x: within_channel_norm(x, n=5, alpha=0.01), (2, 64, 9, 9)),
}


def moved(x, numbers):
    """A copy of a tensor that begins so many numbers after the beginning of a memory page."""
    room = torch.zeros(x.numel() + 1024 + numbers, dtype=x.dtype)
    first = (-room.data_ptr() % 4096) // x.element_size() + numbers
    place = torch.as_strided(room, x.shape, x.stride(), first)
    return place.copy_(x).requires_grad_()


@pytest.mark.parametrize("name", WORK)
def test_results_do_not_depend_on_addresses(name):
    if read_mkl_mode() == "OFF":
        pytest.skip("MKL was used before alexnet was imported, or MKL_CBWR is empty")
    work, *shapes = WORK[name]
    torch.manual_seed(0)
    inputs = [torch.randn(shape) for shape in shapes]
    if inputs[0].dim() == 4:
        inputs = [
            x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in inputs
        ]
    strict = read_mkl_mode() is None or "STRICT" in read_mkl_mode()
    unit = 1 if strict else 16  # MKL's other modes need operands on 64 bytes, as torch lays them
    found = []
    for shift in range(8):
        here = [moved(x, unit * (shift * (i + 1) % 8)) for i, x in enumerate(inputs)]
        result = work(*here)
        gradient = torch.linspace(-1, 1, result.numel()).view(result.shape)
        found.append([result, *torch.autograd.grad(result, here, gradient)])
    for others in found[1:]:
        assert all(torch.equal(a, b) for a, b in zip(found[0], others, strict=True))


AGAIN = """
import json, sys
from pathlib import Path
from alexnet.packs.pack import open_pack
from alexnet.training.train import train
from alexnet.recipes.recipe import Recipe
pack, run = open_pack(Path(sys.argv[1])), Path(sys.argv[2])
recipe = Recipe.from_dict(json.loads(sys.argv[3]))
ballast = [bytearray(n) for n in range(1, 200_000, 1111)]  # so that other addresses are free
train(pack, run, recipe, device="cpu", precision=sys.argv[4], resume=run)
"""


@pytest.mark.parametrize(
    ("network", "crop", "precision"),
    [("cifar", 28, "float32"), ("cifar", 28, "bf16"), ("cifar-13pct", 24, "float32")],
)
def test_a_training_resumed_in_another_process_ends_with_the_same_bits(
    network, crop, precision, tiny_pack, quick, tmp_path
):
    if precision == "bf16" and find_bf16_units() is None:
        pytest.skip("this processor has no bf16 units")
    if devices.explain_unrepeatable(devices.set_up_machine("cpu")):
        pytest.skip("MKL was used before alexnet was imported, or MKL_CBWR is empty")
    recipe = dataclasses.replace(quick, network=network, crop=crop, epochs=2)
    half = dataclasses.replace(recipe, epochs=1)
    options = {"device": "cpu", "precision": precision}
    straight = train(tiny_pack, tmp_path / "straight", recipe, **options).run
    run = train(tiny_pack, tmp_path / "run", half, **options).run
    words = str(tiny_pack.path), str(run), json.dumps(recipe.to_dict()), precision
    subprocess.run([sys.executable, "-c", AGAIN, *words], check=True, timeout=120)
    assert_same(run / "last.safetensors", straight / "last.safetensors")


def test_a_resumed_training_reports_what_has_changed(tiny_pack, quick, tmp_path):
    half = dataclasses.replace(quick, epochs=1)
    run = train(tiny_pack, tmp_path / "run", half, device="cpu").run
    path, changes_reported = run / "environment.json", []
    for changes in {}, {"threads": 99}:
        path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
        listener, half = Listener(), dataclasses.replace(half, epochs=half.epochs + 1)
        train(tiny_pack, run, half, device="cpu", resume=run, screen=listener)
        changes_reported.append([text for text in listener.messages if "Not as before" in text])
    assert changes_reported[0] == []
    assert len(changes_reported[1]) == 1
    assert "threads 99 → " in changes_reported[1][0]
