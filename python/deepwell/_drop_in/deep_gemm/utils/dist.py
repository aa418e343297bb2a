"""Processes of one job: the start of NCCL, and a gather of tensors whose first sizes differ."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from .._forward import names_of_other

if TYPE_CHECKING:
    import torch

__all__ = ["init_dist", "uneven_all_gather"]

_local_rank: int | None = None


def init_dist(local_rank: int, num_local_ranks: int) -> tuple[int, int, Any]:
    """Joins the job through NCCL and takes GPU number local_rank, torch's default device from here on.

    Returns (rank, number of ranks, group of all).

    Of the environment: MASTER_ADDR (127.0.0.1), MASTER_PORT (8361), WORLD_SIZE and RANK, which count nodes
    (1, 0).
    """
    global _local_rank
    import torch
    import torch.distributed as dist

    address, port = os.environ.get("MASTER_ADDR", "127.0.0.1"), int(os.environ.get("MASTER_PORT", "8361"))
    nodes, node = int(os.environ.get("WORLD_SIZE", "1")), int(os.environ.get("RANK", "0"))
    torch.cuda.set_device(local_rank)
    torch.set_default_device("cuda")
    dist.init_process_group(
        backend="nccl",
        init_method=f"tcp://{address}:{port}",
        world_size=nodes * num_local_ranks,
        rank=node * num_local_ranks + local_rank,
        device_id=torch.device("cuda", local_rank),
    )
    _local_rank = local_rank
    return dist.get_rank(), dist.get_world_size(), dist.new_group(list(range(dist.get_world_size())))


def uneven_all_gather(tensor: torch.Tensor, dim: int = 0, group: Any = None) -> torch.Tensor:
    """The tensors of all ranks one after the other along `dim`; their sizes along it may differ, all others
    are equal.
    """
    import torch
    import torch.distributed as dist

    ranks = dist.get_world_size(group)
    mine = torch.tensor([tensor.shape[dim]], dtype=torch.int64, device=tensor.device)
    sizes = [torch.empty_like(mine) for _ in range(ranks)]
    dist.all_gather(sizes, mine, group=group)
    lengths = [int(size) for size in sizes]
    moved = tensor.movedim(dim, 0)
    padded = moved.new_zeros((max(lengths), *moved.shape[1:]))
    padded[: moved.shape[0]] = moved
    parts = [torch.empty_like(padded) for _ in range(ranks)]
    dist.all_gather(parts, padded, group=group)
    return (
        torch.cat([part[:length] for part, length in zip(parts, lengths, strict=False)])
        .movedim(0, dim)
        .contiguous()
    )


def dist_print(s: str = "", once_in_node: bool = False) -> None:
    """Prints, by all ranks or by the first of each node, and waits for all ranks."""
    import torch.distributed as dist

    if not once_in_node or _local_rank in (None, 0):
        print(s, flush=True)
    dist.barrier()


__getattr__ = names_of_other("utils.dist")
