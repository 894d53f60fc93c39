"""The names that other programs have for the options of this one.

`usage` suggests options with them: `alexnet train photos --lr 0.1` is told to say --learning-rate.
An option is suggested only where the command that was typed has it. Data alone; imports nothing of
this package.
"""

from __future__ import annotations

MEANINGS: dict[str, tuple[str, ...]] = {
    "learning-rate": ("lr", "lr0", "base-lr", "eta", "rate"),
    "batch-size": ("batch", "bs", "b", "batchsize", "train-batch-size"),
    "crop": ("imgsz", "img", "img-size", "image-size", "input-size", "resolution", "size"),
    "size": ("imgsz", "img", "img-size", "image-size", "input-size", "resolution"),
    "processes": ("workers", "num-workers", "n-workers", "jobs", "j", "threads"),
    "weight-decay": ("wd", "decay", "l2"),
    "network": ("model", "arch", "architecture", "net", "backbone", "m"),
    "init": ("pretrained", "weights", "checkpoint", "ckpt", "finetune", "fine-tune", "from"),
    "epochs": ("epoch", "e", "num-epochs", "n-epochs", "max-epochs", "num-train-epochs"),
    "schedule": ("scheduler", "sched", "lr-scheduler", "lr-schedule", "lr-policy"),
    "warmup-epochs": ("warmup", "lr-warmup-epochs"),
    "dropout": ("drop", "dropout-rate"),
    "rates": ("freeze", "layer-decay"),
    "resume": ("continue", "restore", "load"),
    "out": ("output", "o", "save", "output-file"),
    "top": ("topk", "top-k", "k", "n"),
    "threshold": ("conf", "confidence", "thres", "min-confidence"),
    "val-fraction": ("val-split", "validation-split", "valid-pct", "test-size", "val-size"),
    "log-seconds": ("log-interval", "print-freq", "log-every"),
    "format": ("fmt", "output-format"),
    "figure": ("plot", "show", "save-plot"),
    "config": ("cfg", "yaml", "hyp", "c", "config-file"),
    "quiet": ("q", "silent"),
    "time": ("max-time", "minutes", "time-limit"),
    "dry-run": ("dryrun", "n", "what-if"),
    "seed": ("random-seed", "random-state"),
    "compile": ("torchcompile", "torch-compile", "jit"),
}
"""Option → the names that other programs have for it."""
MEANINGS_WITH_VALUE: dict[str, tuple[str, str]] = {
    "cpu": ("device", "cpu"),
    "no-cuda": ("device", "cpu"),
    "gpu": ("device", "cuda"),
    "cuda": ("device", "cuda"),
    "gpus": ("device", "cuda"),
    "amp": ("precision", "bf16"),
    "half": ("precision", "bf16"),
    "fp16": ("precision", "bf16"),
    "bf16": ("precision", "bf16"),
    "mixed-precision": ("precision", "bf16"),
    "fp32": ("precision", "float32"),
    "tta": ("views", "10"),
    "hflip": ("flip", "True"),
    "fliplr": ("flip", "True"),
    "mirror": ("flip", "True"),
    "csv": ("format", "csv"),
    "json": ("format", "json"),
}
"""A name in other programs → the option for it and its value."""
POSITIONS: dict[str, tuple[str, ...]] = {
    "images": ("data", "data-dir", "data-path", "dataset", "source", "input", "i", "folder"),
    "run_folder": (
        *("output", "o", "out", "output-dir", "out-dir", "save-dir", "outdir", "project", "name"),
        *("model", "m", "weights", "checkpoint", "ckpt", "run", "pretrained", "load"),
    ),
    "runs": ("model", "m", "weights", "checkpoint", "ckpt", "run", "data", "data-dir", "dataset"),
    "run": ("model", "m", "weights", "checkpoint", "ckpt"),
    "pack": ("output", "o", "out", "output-dir"),
}
"""Positional argument → the options that other programs have for it."""
NOTES: dict[tuple[str, str], str] = {
    ("train", "processes"): "Images are decoded once, when they are packed, by all cores: no such "
    "option is needed",
}
"""What to say where a command has no such option, because it needs none."""
DEVICES = {"gpu": "cuda", "0": "cuda:0", "1": "cuda:1", "cuda0": "cuda:0", "gpu:0": "cuda:0"}
"""Names in other programs for devices."""
