"""V4-Flash's own sizes, as the last of 1, 2, 4 and 8 ranks has them.

What is divided: wq_b, wo_a and with it o_proj's groups, wo_b, the shared expert, the routed experts' intermediate axis. The
other layers, the indexer and the hyper-connections are whole on every rank.
"""

from __future__ import annotations

import judge
import operands
import parallel
import pytest
import reference
import test_experts
import test_hyper_connections
import test_indexer
import test_o_proj
import torch


@pytest.mark.settings("default")
@pytest.mark.parametrize("name", [name for name in parallel.LAYERS if name != "wo_a"])
@pytest.mark.parametrize("ranks", parallel.SIZES)
def test_linear_layers(generator, monkeypatch, name, ranks):
    tokens, rank = 1, ranks - 1
    with parallel.rank_of(monkeypatch, rank, ranks):
        layer, weight = parallel.build(generator, name, rank, ranks)
        n, k = parallel.LAYERS[name].size(ranks)
        assert tuple(weight.shape) == (n, k) and tuple(layer.weight.shape) == (n, k)
        x = operands.integers(generator, (tokens, k), 7)
        x[:, 5::128] = 7
        y = layer(x.to(torch.bfloat16))
    judge.exact(y, reference.product(x, weight), 2.0**-4)


@pytest.mark.settings("default")
@pytest.mark.parametrize("ranks", parallel.SIZES)
def test_groups_of_o_proj(generator, monkeypatch, ranks):
    tokens, rank, groups = 2, ranks - 1, parallel.GROUPS // ranks
    with parallel.rank_of(monkeypatch, rank, ranks):
        layer, weight = parallel.build(generator, "wo_a", rank, ranks)
        n, k = parallel.LAYERS["wo_a"].size(ranks)
        assert tuple(weight.shape) == (n, k) and tuple(layer.weight.shape) == (groups, parallel.RANK_O, k)
        o, values = test_o_proj.quantised_activation(
            operands.integers(generator, (tokens, groups, k), 2), generator
        )
        z = test_o_proj.project(o, layer, groups, parallel.RANK_O)
    judge.exact(z, reference.product_per_group(values, weight.view(groups, -1, k)), 2.0**-4)


@pytest.mark.settings("default")
@pytest.mark.parametrize("ranks", parallel.SIZES)
def test_experts_of_a_rank(generator, ranks, expert_kernels):
    """Two of three experts, which stand for the 256."""
    test_experts.check_fp4_experts(
        generator, 1, experts=3, top=2, hidden=parallel.HIDDEN, intermediate=parallel.INTERMEDIATE // ranks
    )


@pytest.mark.settings("default")
@pytest.mark.parametrize("ranks", parallel.SIZES)
def test_indexer_and_hyper_connections_are_whole_on_every_rank(generator, monkeypatch, ranks):
    with parallel.rank_of(monkeypatch, ranks - 1, ranks, torch.float32):
        test_indexer.test_prefill(generator)
        test_indexer.test_decode(generator, 1)
        test_indexer.test_decode(generator, 2)
        test_hyper_connections.check(generator, 33, parallel.HIDDEN, 4 * parallel.HIDDEN)
