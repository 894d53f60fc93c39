"""From `--device cuda` to the first steps of a training, with a fake `torch.cuda`.

Tensors for the GPU are made on the CPU. That a real GPU computes the same is what
`benchmarks/checks.py` checks; here every call is made with arguments that the real
`torch.cuda` would accept.
"""

import contextlib
import dataclasses
import json
import threading
import types

import pytest
import torch
from torch.cuda._utils import _get_device_index
from torch.overrides import TorchFunctionMode

from alexnet import checkpoint, nets
from alexnet import device as devices
from alexnet.batches.epochs import Batches
from alexnet.batches.preprocessing import Preprocessing
from alexnet.evaluation.counts import Counts, evaluate
from alexnet.kernels.cropping import operator as crops
from alexnet.nets.layers import Strided, find_dropouts, set_key
from alexnet.processes import ALONE
from alexnet.recipes.recipe import Recipe
from alexnet.training.division import ReplicasDivision
from alexnet.training.memory import count_step_memory
from alexnet.training.schedule import Rates
from alexnet.training.sgd import SGD
from alexnet.training.step import GraphedStep, make_step
from alexnet.training.train import train

GPUS, FREE = 2, 80 * 2**30


SETTINGS = (
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.utils.deterministic, "fill_uninitialized_memory"),
)


class OnCpu(TorchFunctionMode):
    """Whatever is asked for on a GPU is made on the CPU, in memory that is not pinned."""

    def __torch_function__(self, function, kinds, arguments=(), options=None):
        options = dict(options or {})
        options.pop("pin_memory", None)
        arguments = tuple(map(self.moved, arguments))
        return function(*arguments, **{name: self.moved(x) for name, x in options.items()})

    def moved(self, argument):
        """The CPU for a GPU that has an index; anything else as it is."""
        if isinstance(argument, torch.device) and argument.type == "cuda":
            assert argument.index is not None, "which GPU?"
            return torch.device("cpu")
        return argument


def on_cpu(work):
    """The function, where GPUs are the CPU; a mode holds in one thread."""

    def run(*arguments):
        with OnCpu():
            return work(*arguments)

    return run


class Anything:
    """A stream, an event or a graph: it takes every call and does nothing."""

    def __init__(self, *_, **__):
        pass

    def __getattr__(self, name):
        return lambda *_, **__: None


@pytest.fixture
def gpus(monkeypatch):
    """Two GPUs that remember which was chosen; torch's settings are as before afterwards."""
    seen = types.SimpleNamespace(current=0)

    def choose(device):
        seen.current = _get_device_index(device)  # as the real one, which raises without an index

    fakes = {
        "is_available": lambda: True,
        "device_count": lambda: GPUS,
        "current_device": lambda: seen.current,
        "set_device": choose,
        "get_device_name": lambda device=None: f"GPU {_get_device_index(device)}",
        "is_bf16_supported": lambda including_emulation=True: True,
        "mem_get_info": lambda device=None: (FREE, FREE),
        "synchronize": lambda device=None: None,
        "current_stream": Anything,
        "stream": lambda stream: contextlib.nullcontext(),
        "graph": lambda graph, **_: contextlib.nullcontext(),
        **dict.fromkeys(("Stream", "Event", "CUDAGraph"), Anything),
    }
    for name, fake in fakes.items():
        monkeypatch.setattr(torch.cuda, name, fake)
    autocast = torch.autocast
    monkeypatch.setattr(torch, "autocast", lambda _, *a, **k: autocast("cpu", *a, **k))
    monkeypatch.setattr(threading.Thread, "run", on_cpu(threading.Thread.run))
    before = [(place, name, getattr(place, name)) for place, name in SETTINGS]
    with OnCpu():
        yield seen
    torch.use_deterministic_algorithms(False)
    for place, name, value in before:
        setattr(place, name, value)


@pytest.mark.parametrize(
    ("asked", "found"), [("cuda", 0), ("auto", 0), ("cuda:0", 0), ("cuda:1", 1)]
)
def test_a_gpu_is_chosen_with_its_index(asked, found, gpus):
    assert devices.choose_device(asked) == torch.device("cuda", found)
    machine = devices.set_up_machine(asked)
    assert machine.device.index == gpus.current == found
    assert devices.describe_machine(machine)["device_name"] == f"GPU {found}"


def test_cuda_without_a_number_is_the_current_gpu(gpus):
    gpus.current = 1
    assert devices.set_up_machine("cuda").device == torch.device("cuda", 1)


def test_the_cpu_can_be_chosen_on_a_machine_with_gpus(gpus):
    assert devices.set_up_machine("cpu").device == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:", "cuda:x", "cuda:-1", "cpu:0", "CUDA", "0", ""])
def test_an_unknown_name_of_a_device_is_refused(name, gpus):
    with pytest.raises(ValueError, match=r"no device has that name\. Use auto, cpu, cuda, or"):
        devices.set_up_machine(name)


def test_a_gpu_that_does_not_exist_is_refused(gpus):
    with pytest.raises(ValueError, match=r"sees 2 GPUs here\. Use one of cuda:0, cuda:1"):
        devices.set_up_machine("cuda:2")


@pytest.mark.parametrize(("has_bf16", "precision"), [(True, "bf16"), (False, "float32")])
def test_the_default_precision_of_a_gpu_is_bf16_if_it_supports_it(
    has_bf16, precision, gpus, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: has_bf16)
    assert devices.set_up_machine("cuda").precision == precision


def test_on_a_gpu_no_algorithm_is_chosen_by_timing(gpus):
    torch.backends.cudnn.benchmark = True
    devices.set_up_machine("cuda", "float32")
    assert not torch.backends.cudnn.benchmark
    assert torch.backends.cudnn.deterministic
    assert torch.are_deterministic_algorithms_enabled()
    assert not torch.backends.cuda.matmul.allow_tf32
    assert not torch.backends.cudnn.allow_tf32


def test_the_first_layer_is_computed_alike_in_training_and_in_evaluation(gpus):
    by_depth = []
    for training in (True, False):
        network = nets.build("alexnet", 3).train(training)
        devices.move_to_device(network, devices.set_up_machine("cuda"))
        layers = [layer for layer in network.modules() if isinstance(layer, Strided)]
        by_depth += [layer.uses_space_to_depth for layer in layers]
    assert by_depth == [True, True]


@pytest.mark.parametrize("precision", ["bf16", "tf32", "float32"])
def test_a_first_step_is_recorded_and_replayed(precision, gpus):
    machine = devices.set_up_machine("cuda", precision)
    network = devices.move_to_device(nets.build("cifar", 4).train(), machine)
    sgd, step = SGD(network, Recipe()), make_step(network, machine, (8, 3, 32, 32))
    assert isinstance(step, GraphedStep)
    images = torch.randn(8, 3, 32, 32).to(machine.dtype)
    for batch in images, images[:3]:  # a whole batch, and the last of an epoch
        loss = step(batch, torch.arange(len(batch)) % 4)
        sgd.step(loss, 0.01)
        assert loss.isfinite()


def test_dropout_of_a_recorded_step_reads_keys_that_are_written_before_a_replay(gpus, monkeypatch):
    network = nets.build("cifar", 4, dropout=0.5).train()
    machine = devices.set_up_machine("cuda", "float32")
    devices.move_to_device(network, machine)
    drawn = []
    monkeypatch.setattr(torch.Tensor, "random_", lambda x, *_: drawn.append(x) or x.fill_(77))
    step = GraphedStep(network, machine, (4, 3, 32, 32))
    (dropout,) = find_dropouts(network)
    assert not drawn  # nothing that a graph would record once and for all
    place, batch = dropout.draw.data_ptr(), (torch.randn(4, 3, 32, 32), torch.arange(4))
    replayed = []
    step.graph = types.SimpleNamespace(replay=lambda: replayed.append(dropout.draw.tolist()))
    step(*batch)
    assert replayed == [[77, 77]]  # without a key, a new one for every replay
    for key in (5, 6):
        set_key(network, key, first_row=4)
        step(*batch)
    assert replayed[1:] == [[5, 4], [6, 4]]
    assert len(drawn) == 1
    assert dropout.draw.data_ptr() == place


def test_a_step_in_slices_replays_the_graph_of_a_slice_for_each(gpus):
    machine = devices.set_up_machine("cuda", "float32")
    network = devices.move_to_device(nets.build("cifar", 4, dropout=0.5).train(), machine)
    division, sgd = ReplicasDivision(ALONE, 4), SGD(network, Recipe())
    step = division.make_step(network, sgd, machine, (16, 3, 32, 32))
    graphed, (dropout,), replayed = step.compute, find_dropouts(network), []

    def replay():
        replayed.append((dropout.draw.tolist(), float(graphed.share)))
        for gradient in graphed.gradients.values():
            gradient.fill_(len(replayed))

    graphed.graph = types.SimpleNamespace(replay=replay)
    step.begin(7, Rates(0.01, 0.01), 16)
    step(torch.randn(16, 3, 32, 32), torch.arange(16) % 4)
    assert replayed == [([7, row], 0.25) for row in (0, 4, 8, 12)]
    assert all((p.grad == 1 + 2 + 3 + 4).all() for p in network.parameters())


@pytest.mark.parametrize("resident", ["yes", "no", "auto"])
def test_a_training_on_a_gpu_runs_and_records_the_gpu(resident, gpus, tiny_pack, quick, tmp_path):
    recipe = dataclasses.replace(quick, epochs=1)
    run = train(tiny_pack, tmp_path / "run", recipe, device="cuda:1", resident=resident).run
    environment = json.loads((run / "environment.json").read_text())
    assert (environment["device"], environment["device_name"]) == ("cuda:1", "GPU 1")
    assert environment["precision"] == "bf16"
    assert environment["settings"]["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


READS = {
    getattr(torch.Tensor, name)
    for name in ("item", "tolist", "cpu", "__float__", "__int__", "__bool__", "__index__")
}


class NothingRead(TorchFunctionMode):
    """Fails where this thread asks for a number on the GPU, unless that is `allowed`."""

    allowed = False

    def __torch_function__(self, function, kinds, arguments=(), options=None):
        assert self.allowed or function not in READS, f"{function} waits for the GPU"
        return function(*arguments, **(options or {}))


@pytest.mark.parametrize("n_views", [1, 10])
def test_validation_on_a_gpu_reads_its_counts_once(n_views, gpus, tiny_pack, quick, monkeypatch):
    machine = devices.set_up_machine("cuda", "float32")
    preprocessing = Preprocessing.of(tiny_pack, quick).to(machine.device)
    network = devices.move_to_device(nets.build("cifar", len(tiny_pack.classes), 28), machine)
    network.initialize("variance")
    split, classes = tiny_pack.splits["val"], len(tiny_pack.classes)
    on_the_cpu = devices.Machine(torch.device("cpu"))
    wanted = evaluate(
        network, split, preprocessing, classes, on_the_cpu, n_views=n_views, batch_size=20
    )
    monkeypatch.setattr(crops, "_check_range", lambda *_: None)  # on CUDA there is no check
    watching, read, reads = NothingRead(), Counts.read, []

    def at_the_end(counts):
        watching.allowed = True
        reads.append(counts)
        return read(counts)

    monkeypatch.setattr(Counts, "read", at_the_end)
    with watching:
        found = evaluate(
            network, split, preprocessing, classes, machine, n_views=n_views, batch_size=20
        )
    assert len(reads) == 1
    assert reads[0].device == machine.device
    assert found.seen == wanted.seen == len(split)
    assert torch.equal(found.per_class, wanted.per_class)
    assert found.loss == wanted.loss
    with pytest.raises(AssertionError, match="waits for the GPU"), NothingRead():
        found.per_class.sum().item()


def test_resident_and_streamed_records_train_the_same(gpus, tiny_pack, quick, tmp_path):
    recipe = dataclasses.replace(quick, epochs=1)
    ends = []
    for resident in ("yes", "no"):
        run = train(tiny_pack, tmp_path / resident, recipe, device="cuda", resident=resident).run
        ends.append(checkpoint.load(run / "last.safetensors").weights)
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])


def test_memory_for_training_is_left_free_beside_resident_records(
    gpus, tiny_pack, quick, monkeypatch
):
    machine, split = devices.set_up_machine("cuda"), tiny_pack.splits["train"]
    preprocessing = Preprocessing.of(tiny_pack, quick)
    classes, records = len(tiny_pack.classes), 150 * 32 * 32 * 3
    room, larger = (
        count_step_memory(dataclasses.replace(quick, batch_size=n), classes, machine)
        for n in (16, 99)
    )
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (records + room + 1, FREE))
    loaders = [Batches(split, preprocessing, quick, machine, r).loader for r in (room, larger)]
    assert [type(loader).__name__ for loader in loaders] == ["ResidentLoader", "StreamingLoader"]
