"""The bf16 instructions of the processor, and the mode of MKL."""

import os
import subprocess
import sys

import pytest
import torch

from alexnet import processor
from alexnet.processor import find_bf16_units, read_mkl_mode

XEON, EPYC, ARM = {"avx512_bf16": True, "amx_bf16": True}, {"avx512_bf16": True}, {"bf16": True}


@pytest.mark.parametrize(
    ("has", "limit", "units"),
    [
        (XEON, None, "AMX"),
        (XEON, "ALL", "AMX"),
        (XEON, "AVX512_CORE_AMX", "AMX"),
        (XEON, "AVX512_CORE_BF16", "AVX512-BF16"),
        (XEON, "AVX512_CORE", None),
        (EPYC, None, "AVX512-BF16"),
        (EPYC, "nonsense", "AVX512-BF16"),
        (EPYC, "avx2", None),
        (EPYC, "SSE41", None),
        (ARM, None, "Arm BF16"),
        ({"avx2": True}, None, None),
        ({}, None, None),
    ],
)
def test_bf16_units_depend_on_the_instructions_and_on_onednns_limit(has, limit, units, monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: True)
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
        if limit is not None:
            monkeypatch.setenv(name, limit)
        assert find_bf16_units() == units


def test_without_onednn_there_are_no_bf16_units(monkeypatch):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: XEON)
    monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert find_bf16_units() is None


MODE = "from alexnet.processor import read_mkl_mode; print(read_mkl_mode())"
USED = "import torch; torch.rand(9, 9) @ torch.rand(9, 9)"


@pytest.mark.skipif(read_mkl_mode() is None, reason="this torch has no MKL that can be asked")
@pytest.mark.parametrize(
    ("before", "setting", "mode"),
    [
        ("pass", None, "AUTO,STRICT"),
        ("import torch", None, "AUTO,STRICT"),
        ("import torch; torch.set_num_threads(1); torch.zeros(9)", None, "AUTO,STRICT"),
        (USED, None, "OFF"),
        (USED, "AUTO,STRICT", "AUTO,STRICT"),
        ("pass", "COMPATIBLE", "COMPATIBLE"),
        ("pass", "", "OFF"),
    ],
)
def test_mkl_is_reproducible_unless_it_was_used_before_the_import(before, setting, mode):
    environment = {name: value for name, value in os.environ.items() if name != "MKL_CBWR"}
    if setting is not None:
        environment["MKL_CBWR"] = setting
    command = [sys.executable, "-W", "error", "-c", f"{before}\n{MODE}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert (done.stdout.strip(), done.stderr) == (mode, "")


def test_the_mode_of_an_mkl_that_cannot_be_asked_is_none(monkeypatch):
    monkeypatch.setattr(processor, "_find_mkl_cbwr_get", lambda: None)
    assert read_mkl_mode() is None
