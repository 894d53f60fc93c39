"""Latency and throughput of `alexnet serve` with 1 and 32 clients, for the paper's network.

python benchmarks/serve.py --json benchmarks/results/serve.json

Statements: the median time of an answer for one client is under 80 ms; 32 clients get at least 1.5
times as many answers a second as one. The server is the command itself, in a process of its own, on
a run with random weights; every request posts the same JPEG of 500×375 pixels to /v1/predict. The
load comes from `wrk` (Debian's package), or from a Python process with httpx where there is no wrk;
the table says which. Turns of 1 and 32 clients alternate.
"""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import simplejpeg
import torch

from infer import make_photograph, make_preprocessing, new_network
from interleave import machine, options, verdict, write_json
from train_step import CLASSES

LATENCY_TARGET, THROUGHPUT_TARGET = 0.080, 1.5
"""Seconds, and the rate of many clients relative to that of one."""
SCRIPT = """
local file = assert(io.open("{image}", "rb"))
wrk.method = "POST"
wrk.body = file:read("*a")
wrk.headers["Content-Type"] = "image/jpeg"
function done(summary, latency, requests)
  local errors = summary.errors
  local failed = errors.connect + errors.read + errors.write + errors.status + errors.timeout
  io.write(string.format("FOUND %d %d %d %d %d\\n", summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99), failed))
end
"""


@dataclass
class Turn:
    """What one turn of a load generator has measured."""

    clients: int
    answers: int
    seconds: float
    median: float
    """Seconds that half of the answers took at most."""
    p99: float
    failed: int

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.answers / self.seconds


def write_run(folder: Path) -> Path:
    """Write a checkpoint of the paper's network with random weights; return its path."""
    from alexnet.checkpoint import Checkpoint, Position, save
    from alexnet.recipes.recipe import Recipe

    weights = new_network().state_dict()
    checkpoint = Checkpoint(
        Recipe(),
        tuple(map(str, range(CLASSES))),
        None,
        "made",
        make_preprocessing(),
        Position(),
        weights,
        {name: torch.zeros_like(weight) for name, weight in weights.items()},
    )
    save(checkpoint, folder / "best.safetensors")
    return folder / "best.safetensors"


def start_server(checkpoint: Path) -> tuple[subprocess.Popen[str], str]:
    """Start `alexnet serve`; return its process and address."""
    words = [sys.executable, "-m", "alexnet", "serve", str(checkpoint), "--port", "0"]
    process = subprocess.Popen([*words, "--device", "cpu"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if " is served at " not in line:
        sys.exit("the server did not start")
    return process, line.split(" is served at ")[1].split()[0]


def load_with_wrk(url: str, image: Path, clients: int, seconds: float) -> Turn:
    """Have wrk keep `clients` connections busy."""
    script = image.with_suffix(".lua")
    script.write_text(SCRIPT.format(image=image))
    words = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:.0f}s", "--timeout", "60s"]
    done = subprocess.run(
        [*words, "-s", str(script), f"{url}v1/predict"], capture_output=True, text=True, check=True
    )
    found = re.search(r"FOUND (\d+) (\d+) (\d+) (\d+) (\d+)", done.stdout)
    assert found is not None, done.stdout + done.stderr
    answers, duration, median, p99, failed = map(int, found.groups())
    return Turn(clients, answers, duration / 1e6, median / 1e6, p99 / 1e6, failed)


def load_with_python(url: str, image: Path, clients: int, seconds: float) -> Turn:
    """Have a Python process do the same."""
    words = [sys.executable, __file__, "--generate", url, str(image), str(clients), str(seconds)]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    return Turn(**json.loads(done.stdout))


async def generate_load(url: str, image: str, clients: int, seconds: float) -> Turn:
    """Post an image again and again with httpx; the work of the process that Python starts."""
    import httpx

    body, times, failed = Path(image).read_bytes(), list[float](), 0
    headers = {"Content-Type": "image/jpeg"}
    began = time.perf_counter()

    async def post(client: httpx.AsyncClient) -> None:
        nonlocal failed
        while time.perf_counter() - began < seconds:
            start = time.perf_counter()
            answer = await client.post(f"{url}v1/predict", content=body, headers=headers)
            times.append(time.perf_counter() - start)
            failed += answer.status_code != 200

    limits = httpx.Limits(max_connections=clients)
    async with httpx.AsyncClient(timeout=60, limits=limits, trust_env=False) as client:
        await asyncio.gather(*(post(client) for _ in range(clients)))
    took = time.perf_counter() - began
    p99 = sorted(times)[int(0.99 * len(times))]
    return Turn(clients, len(times), took, statistics.median(times), p99, failed)


def format_turns(turns: list[Turn]) -> str:
    """Return a row of the table: medians over the turns of one number of clients."""
    rates, medians = [x.rate for x in turns], [1e3 * x.median for x in turns]
    return (
        f"{turns[0].clients:>7} clients{statistics.median(rates):>10.1f} answers/s "
        f"[{min(rates):.1f}–{max(rates):.1f}]   median {statistics.median(medians):.0f} ms "
        f"[{min(medians):.0f}–{max(medians):.0f}]   "
        f"99 % within {1e3 * statistics.median(x.p99 for x in turns):.0f} ms   "
        f"{sum(x.failed for x in turns)} failed"
    )


def main() -> None:
    if sys.argv[1:2] == ["--generate"]:
        url, image, clients, seconds = sys.argv[2:]
        found = asyncio.run(generate_load(url, image, int(clients), float(seconds)))
        print(json.dumps(asdict(found)))
        return
    parser = options(__doc__, rounds=5, seconds=8, clients=32)
    parser.add_argument("--python", action="store_true", help="use httpx although there is wrk")
    args: Any = parser.parse_args()
    load = load_with_python if args.python or not shutil.which("wrk") else load_with_wrk
    one, many = list[Turn](), list[Turn]()
    with tempfile.TemporaryDirectory() as name:
        image = Path(name, "photograph.jpg")
        image.write_bytes(simplejpeg.encode_jpeg(make_photograph(), 90))
        process, url = start_server(write_run(Path(name)))
        try:
            load(url, image, 2, 3)  # warms up
            for _ in range(args.rounds):
                one.append(load(url, image, 1, args.seconds))
                many.append(load(url, image, args.clients, args.seconds))
        finally:
            process.terminate()
            process.wait()
    times = statistics.median(b.rate / a.rate for a, b in zip(one, many, strict=True))
    latency = statistics.median(x.median for x in one)
    lines = [
        f"load by {load.__name__.removeprefix('load_with_')}",
        format_turns(one),
        format_turns(many),
        verdict("80 ms ÷ median of one client", LATENCY_TARGET / latency, 1.0),
        verdict(f"{args.clients} clients ÷ one, answers/s", times, THROUGHPUT_TARGET),
    ]
    print("\n".join(lines))
    rows = [asdict(turn) for turn in (*one, *many)]
    if args.json:
        write_json(args.json, {**machine("cpu"), "printed": lines, "rows": rows})


if __name__ == "__main__":
    main()
