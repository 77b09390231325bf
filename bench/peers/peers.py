#!/usr/bin/env python3
"""Build clgaze, check it against ref/, and time it beside what PyTorch brings, in one run.

Prints markdown: the tables of docs/performance.md for this device.  Needs Python 3 and, for the
peers, PyTorch; without PyTorch it says so and prints our own times alone.

    bench/peers/peers.py [--build DIR] [--device TEXT] [--quick] [--no-check] [--seconds S]
"""
import argparse
import json
import math
import os
import random
import statistics
import subprocess
import sys
import time

try:
    import torch
    import torch.nn.functional as functional
except ImportError as missing:
    torch, why_no_torch = None, str(missing)

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHECKS = "^test_(pool|gate|score|select|attend|matrix_units|launches|prefill)$"
DENSITIES = (.5, .4, .3, .2, .1)
BLOCK = 64


def run(command, **more):
    """Run a command; its output, or the end of this program."""
    done = subprocess.run(command, capture_output=True, text=True, **more)
    if done.returncode:
        sys.exit("%s failed:\n%s" % (" ".join(command), (done.stdout + done.stderr)[-2000:]))
    return done.stdout


def build_and_check(options):
    """Build, and run the unit tests of every variant on the device that is timed."""
    run(["cmake", "-S", ROOT, "-B", options.build, "-DCMAKE_BUILD_TYPE=Release"])
    run(["cmake", "--build", options.build, "--parallel", "2"])
    if options.no_check:
        return "not run (--no-check)"
    tests = dict(os.environ)
    if options.device:
        tests["CLGAZE_TEST_DEVICE"] = options.device
    said = run(["ctest", "--test-dir", options.build, "-R", CHECKS], env=tests)
    return next(line.strip() for line in said.splitlines() if "tests passed" in line)


# ---- ours ----------------------------------------------------------------------------------


def ours(options, shape, op, densities):
    """Rows of bench_sparse by density, and the device."""
    command = [os.path.join(options.build, "bench_sparse"), "--op", op, "--json", "-",
               "--seq", str(shape.seq), "--heads", str(shape.heads), "--kv-heads", str(shape.kv_heads),
               "--head-dim", str(shape.dim), "--block", str(BLOCK), "--dtype", shape.dtype,
               "--density", ",".join(map(str, densities)), "--min-time", str(options.seconds)]
    if options.device:
        command += ["--device", options.device]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode not in (0, 1):
        sys.exit("%s failed: %s" % (" ".join(command), done.stderr))
    said = json.loads(done.stdout)
    return {row["value"]: row for row in said["rows"]}, said


class Shape:
    """Tokens, heads, channels and type of one measurement."""

    def __init__(self, seq, heads, kv_heads, dim, dtype):
        self.seq, self.heads, self.kv_heads, self.dim, self.dtype = seq, heads, kv_heads, dim, dtype

    def __str__(self):
        return "%d tokens, %d heads on %d, D %d, %s" % (self.seq, self.heads, self.kv_heads, self.dim, self.dtype)


# ---- peers ---------------------------------------------------------------------------------


def spread_of(times):
    """Median, and half of the middle half as a share of it."""
    times = sorted(times)
    middle = statistics.median(times)
    quarter = len(times) // 4
    return middle, (times[-1 - quarter] - times[quarter]) / 2 / middle


def time_call(call, seconds, cuda):
    """Milliseconds of a call: median and spread; by events on a GPU, else by the host's clock."""
    call()
    times, began = [], time.perf_counter()
    while len(times) < 3 or (time.perf_counter() - began < seconds and len(times) < 1000):
        if cuda:
            first, last = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            first.record()
            call()
            last.record()
            torch.cuda.synchronize()
            times.append(first.elapsed_time(last))
        else:
            start = time.perf_counter()
            call()
            times.append(1e3 * (time.perf_counter() - start))
    return spread_of(times)


def inputs(shape, cuda):
    kinds = {"f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16}
    torch.manual_seed(1)
    sizes = (shape.heads, shape.kv_heads, shape.kv_heads)
    tensors = [torch.randn(1, h, shape.seq, shape.dim, device="cuda" if cuda else "cpu", dtype=kinds[shape.dtype])
               for h in sizes]
    if shape.heads != shape.kv_heads:
        tensors[1:] = [x.repeat_interleave(shape.heads // shape.kv_heads, 1) for x in tensors[1:]]
    return tensors


def error_of(out, q, k, v, listed=None):
    """Relative error of the last query's output, of its first head, against doubles."""
    q, k, v = (x[0, 0].double() for x in (q, k, v))
    scores = k @ q[-1] / math.sqrt(q.shape[1])
    if listed is not None:
        keep = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
        for first, size in listed:
            keep[first:first + size] = True
        scores = scores.masked_fill(~keep, -math.inf)
    want = torch.softmax(scores, 0) @ v
    return ((out[0, 0, -1].double() - want).norm() / want.norm()).item()


def dense_peers(cuda):
    """Names and back ends of scaled_dot_product_attention; on a processor its own choice."""
    if not cuda:
        return [("SDPA", None)]
    try:
        from torch.nn.attention import SDPBackend
        return [("FlashAttention-2", SDPBackend.FLASH_ATTENTION), ("cuDNN", SDPBackend.CUDNN_ATTENTION)]
    except (ImportError, AttributeError):
        return [("SDPA", None)]


def time_dense(options, shape, cuda):
    """{name: (ms, spread) or why not}."""
    result = {}
    q, k, v = inputs(shape, cuda)

    def call():
        return functional.scaled_dot_product_attention(q, k, v, is_causal=True)

    for name, backend in dense_peers(cuda):
        try:
            if backend is None:
                off = error_of(call(), q, k, v)
                result[name] = time_call(call, options.seconds, cuda)
            else:
                from torch.nn.attention import sdpa_kernel
                with sdpa_kernel(backend):
                    off = error_of(call(), q, k, v)
                    result[name] = time_call(call, options.seconds, cuda)
            if off > 2e-2:
                result[name] = "wrong: off by %.2g" % off
        except (RuntimeError, ValueError) as why:
            result[name] = str(why).splitlines()[0][:100]
    return result


def flex_mask(shape, density, block, device):
    """Random lists, the diagonal kept, as a BlockMask: max(1, floor(density * (i + 1))) blocks in row i."""
    from torch.nn.attention.flex_attention import BlockMask
    rows = shape.seq // block
    counts = torch.zeros(1, shape.heads, rows, dtype=torch.int32)
    lists = torch.zeros(1, shape.heads, rows, rows, dtype=torch.int32)
    choose = random.Random(1)
    for h in range(shape.heads):
        for i in range(rows):
            # FlexAttention masks the diagonal block alone, so it goes by itself
            n = max(1, math.floor(density * (i + 1))) - 1
            lists[0, h, i, :n] = torch.tensor(sorted(choose.sample(range(i), n)), dtype=torch.int32)
            counts[0, h, i] = n
    diagonal = torch.arange(rows, dtype=torch.int32).expand(1, shape.heads, rows)
    partial = torch.zeros_like(lists)
    partial[..., 0] = diagonal
    move = (x.to(device) for x in (torch.ones_like(counts), partial, counts, lists))
    mask = BlockMask.from_kv_blocks(*move, BLOCK_SIZE=block, mask_mod=lambda b, h, q, k: q >= k)
    last = lists[0, 0, -1, :counts[0, 0, -1]].tolist() + [rows - 1]
    return mask, [(j * block, block) for j in last]


def time_flex(options, shape, densities, cuda):
    """{density: (ms, spread)}, or why there is none."""
    block = 128 if cuda else BLOCK
    try:
        from torch.nn.attention.flex_attention import flex_attention
        flex = torch.compile(flex_attention)
        q, k, v = inputs(shape, cuda)
        result = {}
        for density in densities:
            mask, listed = flex_mask(shape, density, block, q.device)
            with torch.no_grad():
                off = error_of(flex(q, k, v, block_mask=mask), q, k, v, listed)
                if off > 2e-2:
                    return "wrong: off by %.2g" % off
                result[density] = time_call(lambda: flex(q, k, v, block_mask=mask), options.seconds, cuda)
        return result
    except Exception as why:  # whatever a compiler throws
        return "%s: %s" % (type(why).__name__, str(why).strip().splitlines()[0][:100])


# ---- tables --------------------------------------------------------------------------------


def cell(measured):
    if isinstance(measured, tuple):
        return "%.4g ±%.0f%%" % (measured[0], 100 * measured[1])
    return "-"


def our_cell(row, prefix=""):
    """A row's time; one that was refused or wrong says so."""
    if row["status"] != "ok":
        return row["status"]
    middle = row[prefix + "ms"]
    return cell((middle, (row[prefix + "ms_q3"] - row[prefix + "ms_q1"]) / 2 / middle))


def times_quicker(peer, row, prefix=""):
    return "%.2f" % (peer[0] / row[prefix + "ms"]) if isinstance(peer, tuple) and row["status"] == "ok" else "-"


def table(options, shape, densities, cuda, peers):
    """Attend and prefill of one shape beside the dense peers and FlexAttention."""
    attend, _ = ours(options, shape, "attend", densities)
    prefill, _ = ours(options, shape, "prefill", densities)
    dense = time_dense(options, shape, cuda) if peers else {}
    flex = time_flex(options, shape, densities, cuda) if peers else {}
    first = next(iter(attend.values()))

    print("### %s\n" % shape)
    for name, measured in dense.items():
        print("%s dense: %s  " % (name, cell(measured) + " ms" if isinstance(measured, tuple) else measured))
    if isinstance(flex, str):
        print("FlexAttention: %s" % flex)
        flex = {}
    heads = ["density", "attend, ms"] + ["x " + name for name in dense] + ["FlexAttention, ms", "prefill, ms"]
    heads += ["x " + name for name in dense]
    print("\n| %s |\n|%s" % (" | ".join(heads), "---|" * len(heads)))
    rows = [["dense", our_cell(first, "dense_")] + [times_quicker(peer, first, "dense_") for peer in dense.values()]]
    for density in densities:
        a, p = attend[density], prefill[density]
        rows.append(["%g" % density, our_cell(a)] + [times_quicker(peer, a) for peer in dense.values()] +
                    [cell(flex.get(density)), our_cell(p)] + [times_quicker(peer, p) for peer in dense.values()])
    for row in rows:
        print("| %s |" % " | ".join(row + ["-"] * (len(heads) - len(row))))
    print(flush=True)


def head(said, cuda, peers, checked):
    """What was timed, and with what."""
    device = said["device"]
    commit = subprocess.run(["git", "-C", ROOT, "describe", "--always", "--dirty"], capture_output=True, text=True)
    print("## %s\n" % device["name"])
    print("%s, driver %s; clgaze %s, commit %s.  " % (device["platform"], device["driver"], said["clgaze"],
                                                       commit.stdout.strip() or "unknown"))
    print("Against ref/ on this device: %s.  " % checked)
    if not torch:
        print("No peers: PyTorch is missing (%s); our own times alone.  " % why_no_torch)
    elif not peers:
        print("No peers: PyTorch sees no GPU; our own times alone.  ")
    elif cuda:
        print("Peers: PyTorch %s, cuDNN %s, on %s.  " % (torch.__version__, torch.backends.cudnn.version(),
                                                      torch.cuda.get_device_name()))
    else:
        print("Peers: PyTorch %s, on the processor with %d threads.  " % (torch.__version__, torch.get_num_threads()))
    print("`%s`; median, ± half of the middle half. Causal, blocks of %d (FlexAttention on a GPU: 128), random lists "
          "with the diagonal; x: times quicker than the peer's dense attention.\n" % (" ".join(sys.argv), BLOCK), flush=True)


def main():
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--build", default=os.path.join(ROOT, "build"), help="build folder (build)")
    arguments.add_argument("--device", help="part of the OpenCL device's name")
    arguments.add_argument("--seconds", type=float, default=1, help="seconds a measurement, at least (1)")
    arguments.add_argument("--quick", action="store_true", help="the shortest shape alone")
    arguments.add_argument("--no-check", action="store_true", help="leave the unit tests out")
    options = arguments.parse_args()
    checked = build_and_check(options)
    _, said = ours(options, Shape(128, 1, 1, 64, "f32"), "attend", (.5,))
    on_gpu = said["device"]["type"] != "cpu"
    cuda = bool(torch) and on_gpu and torch.cuda.is_available()
    peers = bool(torch) and cuda == on_gpu  # those of another device would say nothing
    head(said, cuda, peers, checked)
    if on_gpu:
        shapes = [Shape(seq, 32, 32, 128, "f16") for seq in (8192, 32768)]
        shapes += [Shape(32768, 32, 32, 64, "f16"), Shape(32768, 32, 8, 128, "f16"), Shape(131072, 32, 32, 128, "f16")]
    else:
        shapes = [Shape(512, 4, 4, 128, "f32"), Shape(8192, 4, 4, 128, "f32"), Shape(8192, 4, 4, 64, "f32")]
    for shape in shapes[:1] if options.quick else shapes:
        table(options, shape, DENSITIES, cuda, peers)


if __name__ == "__main__":
    main()
