"""One rank of V4-Flash under tensor parallelism: vLLM's own parallel layers, loaded from whole tensors by vLLM's loader.

Sizes are those of the checkpoint; vLLM divides them. What is not here: other ranks. Their sums (all-reduce) stay away.
"""

from __future__ import annotations

import contextlib
from typing import NamedTuple

import layers
import operands
import reference
import torch
from vllm.distributed import parallel_state
from vllm.model_executor.layers.linear import (
    ColumnParallelLinear,
    MergedColumnParallelLinear,
    ReplicatedLinear,
    RowParallelLinear,
)
from vllm.models.deepseek_v4.quant_config import DeepseekV4FP8Config

SIZES = (1, 2, 4, 8)  # ranks
HIDDEN, HEADS, HEAD_DIM, GROUPS, RANK_O, RANK_Q = 4096, 64, 512, 8, 1024, 1024
INTERMEDIATE, INDEX_HEADS, INDEX_DIM = 2048, 64, 128


class Layer(NamedTuple):
    """How vLLM builds a layer (models/deepseek_v4), and which part of the whole weight a rank holds."""

    kind: type
    k: int
    n: tuple[int, ...]  # several: matrices that stand below each other
    divided: str  # "n", "k", or "" for all of it
    options: dict

    def size(self, ranks: int) -> tuple[int, int]:
        """[n, k] of a rank."""
        n, k = sum(self.n), self.k
        return (n // ranks if self.divided == "n" else n, k // ranks if self.divided == "k" else k)


LAYERS = {
    "wq_a|wkv": Layer(MergedColumnParallelLinear, HIDDEN, (RANK_Q, HEAD_DIM), "", {"disable_tp": True}),
    "wq_b": Layer(ColumnParallelLinear, RANK_Q, (HEADS * HEAD_DIM,), "n", {}),
    "wo_a": Layer(ColumnParallelLinear, HEADS * HEAD_DIM // GROUPS, (GROUPS * RANK_O,), "n", {}),
    "wo_b": Layer(RowParallelLinear, GROUPS * RANK_O, (HIDDEN,), "k", {}),
    "indexer.wq_b": Layer(ReplicatedLinear, RANK_Q, (INDEX_HEADS * INDEX_DIM,), "", {}),
    "shared.w1|w3": Layer(MergedColumnParallelLinear, HIDDEN, (INTERMEDIATE, INTERMEDIATE), "n", {}),
    "shared.w2": Layer(RowParallelLinear, INTERMEDIATE, (HIDDEN,), "k", {}),
    "mtp.e_proj": Layer(ReplicatedLinear, HIDDEN, (HIDDEN,), "", {}),
}


class Rank:
    """What vLLM asks its group of ranks. Sums over ranks stay this rank's part."""

    def __init__(self, rank: int, ranks: int):
        self.rank_in_group, self.world_size = rank, ranks

    def all_reduce(self, part: torch.Tensor) -> torch.Tensor:
        return part


@contextlib.contextmanager
def rank_of(monkeypatch, rank: int, ranks: int, dtype: torch.dtype = torch.bfloat16):
    """Inside, vLLM is this rank of so many, and builds layers for this type."""
    before = torch.get_default_dtype()
    with monkeypatch.context() as patch, layers.model_configuration():
        patch.setattr(parallel_state, "_TP", Rank(rank, ranks))
        torch.set_default_dtype(dtype)
        try:
            yield
        finally:
            torch.set_default_dtype(before)


def build(generator: torch.Generator, name: str, rank: int, ranks: int):
    """vLLM's layer, loaded and prepared, and the rank's part of the weight [n, k] in double precision. All that belongs to
    other ranks is NaN."""
    what = LAYERS[name]
    config = DeepseekV4FP8Config(
        is_checkpoint_fp8_serialized=True, activation_scheme="dynamic", weight_block_size=[128, 128]
    )
    sizes = list(what.n) if len(what.n) > 1 else what.n[0]
    layer = what.kind(
        what.k,
        sizes,
        bias=False,
        quant_config=config,
        return_bias=False,
        prefix=f"layers.2.{name}",
        **what.options,
    )
    if name == "wo_a":
        layer.is_bmm, layer.bmm_batch_size = True, GROUPS // ranks
    parts = []
    for index, n in enumerate(what.n):
        part = (slice(None), slice(None))
        if what.divided == "n":
            part = (slice(rank * n // ranks, (rank + 1) * n // ranks), slice(None))
        elif what.divided == "k":
            part = (slice(None), slice(rank * what.k // ranks, (rank + 1) * what.k // ranks))
        blocks = tuple(slice(*(each and each // 128 for each in (p.start, p.stop))) for p in part)
        weight = torch.full((n, what.k), float("nan")).to(operands.E4M3)
        scales = torch.full((n // 128, what.k // 128), 255, dtype=torch.uint8)
        values = operands.integers(generator, tuple(weight[part].shape))
        exponents = operands.exponents(generator, tuple(scales[blocks].shape))
        weight[part] = operands.e4m3(values)
        scales[blocks] = exponents
        shard = (index,) if len(what.n) > 1 else ()
        layer.weight.weight_loader(layer.weight, weight, *shard)
        layer.weight_scale_inv.weight_loader(layer.weight_scale_inv, scales.view(operands.E8M0), *shard)
        parts.append(values * reference.spread(reference.powers(exponents), *values.shape, layers.BLOCK))
    layer.quant_method.process_weights_after_loading(layer)
    return layer, torch.cat(parts)
