"""What only a GPU shows: streams, torch's allocator, CUDA graphs, compiled graphs. Needs SM 9.0 or 12.x.

DEEPWELL_TEST_DEVICE=cuda DEEPWELL_DEEP_GEMM=always python -m pytest tests/python/test_kernels.py tests/python/gpu
"""

from __future__ import annotations

import threading

import pytest
import reference as ref
import torch

import deep_gemm
import deepwell

deepwell.register_ops()
OPS = torch.ops.deepwell
assert ref.DEVICE == "cuda", "set DEEPWELL_TEST_DEVICE=cuda"


def problem(m: int, n: int, k: int, seed: int):
    a, b = ref.e4m3((m, k), seed), ref.e4m3((n, k), seed + 1)
    exponent_a, exponent_b = ref.exponents((m, k // 128), seed + 2), ref.exponents((n, k // 128), seed + 3)
    want = ref.gemm(a, exponent_a, b, exponent_b, (1, 128), (1, 128)).float()
    return (a, ref.packed(exponent_a)), (b, ref.packed(exponent_b)), want


def run(left, right, d) -> None:
    deep_gemm.fp8_gemm_nt(left, right, d, recipe=(1, 1, 128))


def test_work_goes_on_the_current_stream():
    left, right, want = problem(64, 256, 4096, 1)
    d = torch.full_like(want, -1)
    side = torch.cuda.Stream()
    torch.cuda.synchronize()
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)  # the product has to wait for it
        run(left, right, d)
        copied = d.clone()
    before = d.clone()  # on the default stream, which does not wait
    side.synchronize()
    assert torch.equal(copied, want)
    assert bool((before == -1).all()), "the product did not wait for the work before it on its stream"


@pytest.mark.parametrize("shape", [(1, 256, 4096), (3, 512, 4096), (130, 256, 512)])
def test_many_streams_and_threads_at_once(shape):
    problems = [problem(*shape, seed) for seed in range(0, 40, 10)]
    outputs = [[torch.full_like(want, -1) for _ in range(8)] for *_, want in problems]
    torch.cuda.synchronize()
    failures: list[BaseException] = []

    def work(index: int) -> None:
        try:
            left, right, _ = problems[index]
            with torch.cuda.stream(torch.cuda.Stream()):
                for d in outputs[index]:
                    run(left, right, d)
                torch.cuda.current_stream().synchronize()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(problems))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    for (*_, want), results in zip(problems, outputs):
        for d in results:
            assert torch.equal(d, want)


def test_workspace_comes_from_torch():
    left, right, want = problem(1, 256, 8192, 1)  # k is split: partial sums need memory
    d = torch.empty_like(want)
    run(left, right, d)
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    run(left, right, d)
    torch.cuda.synchronize()
    assert torch.cuda.memory_allocated() == held
    assert torch.cuda.max_memory_allocated() > held
    assert torch.equal(d, want)


def test_graph_capture_and_replay():
    left, right, _ = problem(3, 512, 4096, 1)
    o_proj = torch.full((3, 2, 128), -1, dtype=torch.bfloat16)
    x, scale_x = ref.e4m3((3, 2, 256), 7), ref.packed(ref.exponents((2, 3, 2), 8)).transpose(0, 1)
    w, scale_w = ref.e4m3((2, 128, 256), 9), ref.scale_values(ref.exponents((2, 1, 2), 10)).float()
    d = torch.full((3, 512), -1.0)
    run(left, right, d)
    OPS.deepseek_v4_fp8_einsum(x, scale_x, w, scale_w, o_proj, "bhr,hdr->bhd", [1, 1, 128])
    want_o_proj = o_proj.clone()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run(left, right, d)
        OPS.deepseek_v4_fp8_einsum(x, scale_x, w, scale_w, o_proj, "bhr,hdr->bhd", [1, 1, 128])
        e = OPS.fp8_fp4_gemm_nt(*left, *right, torch.float32, None, [1, 1, 128])
    for seed in (20, 30, 40):
        new_left, new_right, want = problem(3, 512, 4096, seed)
        for old, new in ((left, new_left), (right, new_right)):
            old[0].copy_(new[0])
            old[1].copy_(new[1])
        d.fill_(-1)
        o_proj.fill_(-1)
        graph.replay()
        torch.cuda.synchronize()
        assert torch.equal(d, want) and torch.equal(e, want)
        assert torch.equal(o_proj, want_o_proj)


def test_shape_first_seen_under_capture():
    left, right, want = problem(5, 640, 1024, 1)
    d = torch.full_like(want, -1)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run(left, right, d)
    d.fill_(-1)
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(d, want)


def test_programmatic_dependent_launch_keeps_the_bits():
    left, right, want = problem(4, 512, 2048, 1)
    deep_gemm.set_pdl(True)
    try:
        for _ in range(20):
            d = torch.full_like(want, -1)
            run(left, right, d)
            assert torch.equal(d, want)
    finally:
        deep_gemm.set_pdl(False)


@pytest.mark.parametrize("mode", ["default", "reduce-overhead"])
def test_compile_on_a_gpu(mode):
    left, right, want = problem(4, 512, 1024, 1)

    def layer(a, scale_a, b, scale_b):
        d = OPS.fp8_fp4_gemm_nt(a, scale_a, b, scale_b, torch.float32, None, [1, 1, 128])
        return d * 2 + 1

    compiled = torch.compile(layer, fullgraph=True, mode=mode)
    for _ in range(4):
        got = compiled(*left, *right).clone()
        assert torch.equal(got, want * 2 + 1)


def test_errors_do_not_poison_the_context():
    left, right, want = problem(4, 512, 1024, 1)
    d = torch.full_like(want, -1)
    with pytest.raises(deepwell.errors.BadArgumentError):
        run(left, (right[0][:, :512], right[1]), d)
    with pytest.raises(deepwell.errors.BadArgumentError) as caught:
        run(left, right, d.cpu())
    assert caught.value.argument
    run(left, right, d)
    torch.cuda.synchronize()
    assert torch.equal(d, want)
