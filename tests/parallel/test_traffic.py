"""The bytes that processes send are those that are computed from shapes."""

import torch
from tests.parallel.test_hybrid import train_hybrid
from tests.parallel.test_towers import CLASSES, IMAGES, SIDE, make_network, take_step
from tests.parallel.worlds import run_in_processes

from alexnet import nets
from alexnet.parallel.towers import Towers
from alexnet.parallel.traffic import CountedWorld, count_hybrid, count_replicas, count_towers


def count_in_a_step(world):
    """The bytes that this process sends in a step with towers, in bf16, and with shards."""
    counts = []
    for wire in (None, torch.bfloat16):
        counted = CountedWorld(world)
        take_step(Towers(make_network(torch.float32), counted, wire), 0, torch.float32)
        counts.append(counted.sent)
    counted, after_step = CountedWorld(world), []
    train_hybrid(counted, torch.float32, 1, 4, note=lambda: after_step.append(counted.sent))
    return [*counts, *after_step]


def test_the_bytes_of_a_step_are_those_computed(tmp_path):
    network = nets.build("alexnet", CLASSES, SIDE)
    counted = run_in_processes(2, count_in_a_step, tmp_path)
    towers, rounded, hybrid = (sum(sent) for sent in zip(*counted, strict=True))
    assert towers == count_towers(network, SIDE).of_step(IMAGES)
    assert rounded == count_towers(network, SIDE, torch.bfloat16).of_step(IMAGES)
    assert hybrid == count_hybrid(network, SIDE, 2).of_step(7)


def test_the_paper_s_network_sends_far_less_in_towers_than_in_replicas():
    with torch.device("meta"):
        network = nets.build("alexnet")
    towers, replicas = count_towers(network, 224), count_replicas(network, 2)
    assert towers.per_image == 2 * 4 * (2 * (128 * 13 * 13 + 128 * 6 * 6 + 2048) + 1000)
    assert replicas.per_step == 2 * 4 * 60_965_224
    assert 1058 < replicas.per_step / towers.per_image < 1059
