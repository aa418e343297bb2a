"""Kernels that hold a whole layer of experts, for several GPUs of SM 10.x. Forwarded to the other DeepGEMM by
name.
"""

from __future__ import annotations

from typing import Any

from deepwell import _other

from .._forward import find, forwarded, names_of_other

__all__ = [
    "SymmBuffer",
    "NVFP4SymmBuffer",
    "get_symm_buffer_for_mega_moe",
    "transform_weights_for_mega_moe",
    "fp8_fp4_mega_moe",
    "fp4_fp4_mega_moe",
    "bf16_mega_moe",
    "nvfp4_mega_moe",
    "get_block_m_for_mega_moe",
    "get_block_m_for_nvfp4_mega_moe",
]


class _Theirs(type):
    """A class that stands for the other DeepGEMM's class of the same name: making, asking and testing go
    there.
    """

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:
        return find("mega", cls.__name__, f"mega.{cls.__name__}")(*args, **kwargs)

    def __instancecheck__(cls, instance: Any) -> bool:
        theirs = getattr(_other.loaded(), cls.__name__, None)
        return theirs is not None and isinstance(instance, theirs)


class SymmBuffer(metaclass=_Theirs):
    """Memory that the GPUs of a group share. Calling it makes the other DeepGEMM's object."""


class NVFP4SymmBuffer(metaclass=_Theirs):
    """As SymmBuffer for NVFP4. Calling it makes the other DeepGEMM's object."""


@forwarded("mega", "get_symm_buffer_for_mega_moe", "mega.get_symm_buffer_for_mega_moe")
def get_symm_buffer_for_mega_moe(*args, **kwargs):
    """A SymmBuffer with as many tokens as the kernel's tiles need. Forwarded."""


@forwarded("mega", "transform_weights_for_mega_moe", "mega.transform_weights_for_mega_moe")
def transform_weights_for_mega_moe(*args, **kwargs):
    """Weights and scales of both layers in the order that the mega kernels read. Forwarded."""


@forwarded("mega", "fp8_fp4_mega_moe", "mega.fp8_fp4_mega_moe")
def fp8_fp4_mega_moe(*args, **kwargs):
    """Dispatch, both products, activation and combination in one kernel; FP8 activations, FP4 weights.
    Forwarded.
    """


@forwarded("mega", "fp4_fp4_mega_moe", "mega.fp4_fp4_mega_moe")
def fp4_fp4_mega_moe(*args, **kwargs):
    """As fp8_fp4_mega_moe with FP4 activations. Forwarded."""


@forwarded("mega", "bf16_mega_moe", "mega.bf16_mega_moe")
def bf16_mega_moe(*args, **kwargs):
    """As fp8_fp4_mega_moe in bfloat16. Forwarded."""


@forwarded("mega", "nvfp4_mega_moe", "mega.nvfp4_mega_moe")
def nvfp4_mega_moe(*args, **kwargs):
    """As fp8_fp4_mega_moe in NVFP4. Forwarded."""


@forwarded("mega", "get_block_m_for_mega_moe", "_C.get_block_m_for_mega_moe")
def get_block_m_for_mega_moe(*args, **kwargs):
    """The tile height that fp8_fp4_mega_moe would use. Forwarded."""


@forwarded("mega", "get_block_m_for_nvfp4_mega_moe", "_C.get_block_m_for_nvfp4_mega_moe")
def get_block_m_for_nvfp4_mega_moe(*args, **kwargs):
    """The tile height that nvfp4_mega_moe would use. Forwarded."""


__getattr__ = names_of_other("mega")
