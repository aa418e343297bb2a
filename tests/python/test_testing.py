"""deep_gemm.testing, and the parts of utils.dist that need no second process."""

import os
import sys

import deep_gemm
import pytest
import torch
from deep_gemm import testing
from deepwell.errors import BadArgumentError

bench_module = sys.modules["deep_gemm.testing.bench"]  # deep_gemm.testing.bench is the function


def test_calc_diff():
    x, y = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([3.0, 0.0, -1.0])
    assert float(testing.calc_diff(x, x)) == pytest.approx(0, abs=1e-15)
    assert float(testing.calc_diff(x, y)) == pytest.approx(1.0)
    assert float(testing.calc_diff(x, -x)) == pytest.approx(2.0)
    assert testing.calc_diff(torch.zeros(3), torch.zeros(3)) == 0.0
    one, two = torch.randn(50), torch.randn(50)
    expected = 1 - 2 * (one.double() @ two.double()) / (
        one.double() @ one.double() + two.double() @ two.double()
    )
    assert float(testing.calc_diff(one, two)) == pytest.approx(float(expected), rel=1e-12)


def test_count_bytes():
    a, b = torch.zeros(3, 5), torch.zeros(7, dtype=torch.int8)
    assert testing.count_bytes(a) == 60
    assert testing.count_bytes(a, None, (b, [a, (None, b)])) == 60 + 7 + 60 + 7
    assert testing.count_bytes() == 0


def test_assert_bitwise_equal():
    x = torch.tensor([1.0, float("nan"), 0.0])
    testing.assert_bitwise_equal(x, x.clone())
    testing.assert_bitwise_equal(torch.zeros(0), torch.zeros(0))
    with pytest.raises(AssertionError, match="label: 1 of 3 .* first at 2"):
        testing.assert_bitwise_equal(x, torch.tensor([1.0, float("nan"), -0.0]), "label")
    for wrong in (torch.zeros(2), torch.zeros(3, dtype=torch.float64)):
        with pytest.raises(AssertionError):
            testing.assert_bitwise_equal(x, wrong)
    matrix = torch.arange(6.0).reshape(2, 3)
    testing.assert_bitwise_equal(matrix.T, matrix.T.contiguous())


def test_test_filter_asks_when_called():
    answers = iter([True, False])

    @testing.test_filter(lambda: next(answers))
    def function(x, y=1):
        return x + y

    assert function(1, y=2) == 3
    assert function(1) is None
    assert function.__name__ == "function"


def test_ignore_env(monkeypatch):
    monkeypatch.setenv("DEEPWELL_TEST_VARIABLE", "1")
    seen = []
    for condition in (True, False):

        @testing.ignore_env("DEEPWELL_TEST_VARIABLE", lambda condition=condition: condition)
        def function():
            seen.append(os.environ.get("DEEPWELL_TEST_VARIABLE"))
            raise KeyError

        with pytest.raises(KeyError):
            function()
        assert os.environ["DEEPWELL_TEST_VARIABLE"] == "1"
    assert seen == [None, "1"]


def test_get_arch_major(native):
    assert testing.get_arch_major() == 12


def test_without_a_gpu_nothing_is_profiled(monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    calls = []
    assert testing.bench_kineto(lambda: calls.append(1), "gemm") == 1
    assert testing.bench_kineto(lambda: calls.append(1), ("gemm", "reduce")) == (1, 1)
    assert len(calls) == 2
    seconds = testing.bench(lambda: calls.append(1), num_warmups=2, num_tests=3)
    assert 0 <= seconds < 1 and len(calls) == 7


def test_the_profiler_sees_the_calls_after_the_warm_up(tmp_path):
    """On the CPU's activities: what is asked of the profiler is there and counts as expected."""
    x, calls = torch.ones(8, 8), []

    def call():
        calls.append(1)
        x @ x

    cpu = torch.profiler.ProfilerActivity.CPU
    profiler = bench_module._profile(call, 5, cpu, lambda: calls.append("synchronized"))
    assert calls == ([1] * 5 + ["synchronized"]) * 2
    rows = {row.key: (row.self_device_time_total, row.count) for row in profiler.key_averages()}
    assert rows["aten::mm"] == (0, 5)
    profiler.export_chrome_trace(str(tmp_path / "trace.json"))
    assert (tmp_path / "trace.json").stat().st_size > 0


def test_rows_of_the_profiler():
    rows = [("void gemm_kernel<1>", 100.0, 4), ("reduce_kernel", 30.0, 3), ("gemm_again", 50.0, 1)]
    assert bench_module._time_of("reduce", rows, False) == pytest.approx(10e-6)
    assert bench_module._time_of("nothing", rows, False) == 0
    with pytest.raises(BadArgumentError):
        bench_module._time_of("gemm", rows, False)
    assert bench_module._time_of("gemm", rows, True) == pytest.approx(30e-6)


def test_quiet_hides_output_of_the_process(capfd):
    with bench_module._quiet():
        os.write(1, b"hidden")
        os.write(2, b"hidden")
    os.write(1, b"shown")
    assert capfd.readouterr() == ("shown", "")


@pytest.fixture
def one_process(tmp_path):
    import torch.distributed as dist

    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", world_size=1, rank=0)
    yield
    dist.destroy_process_group()


def test_dist_of_one_process(one_process, capsys):
    x = torch.arange(6).reshape(2, 3)
    assert torch.equal(deep_gemm.uneven_all_gather(x), x)
    assert torch.equal(deep_gemm.uneven_all_gather(x, dim=1), x)
    deep_gemm.utils.dist.dist_print("line", once_in_node=True)
    deep_gemm.utils.dist.dist_print()
    assert capsys.readouterr().out == "line\n\n"


UNEVEN = """
import sys, torch, torch.distributed as dist, deepwell, deep_gemm
rank = int(sys.argv[1])
dist.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", world_size=2, rank=rank)
x = torch.arange(2 * (3 + rank)).reshape(2, 3 + rank) + 100 * rank
print(deep_gemm.uneven_all_gather(x, dim=1).tolist(), flush=True)
dist.destroy_process_group()
"""


def test_uneven_sizes(run_python, tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    script = tmp_path / "uneven.py"
    script.write_text(UNEVEN)
    with ThreadPoolExecutor(2) as pool:
        outs = list(
            pool.map(
                lambda rank: run_python(str(tmp_path / "store"), arguments=(str(script), str(rank))), (0, 1)
            )
        )
    assert outs[0] == outs[1] == "[[0, 1, 2, 100, 101, 102, 103], [3, 4, 5, 104, 105, 106, 107]]"
