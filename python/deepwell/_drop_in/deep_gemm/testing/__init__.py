"""What tests and benches of `deep_gemm` use: times of kernels, comparisons, conditions."""

from .._forward import names_of_other
from .bench import bench, bench_kineto
from .numeric import assert_bitwise_equal, calc_diff, count_bytes
from .utils import get_arch_major, ignore_env, test_filter

__all__ = [
    "bench",
    "bench_kineto",
    "assert_bitwise_equal",
    "calc_diff",
    "count_bytes",
    "get_arch_major",
    "ignore_env",
    "test_filter",
]

__getattr__ = names_of_other("testing")
