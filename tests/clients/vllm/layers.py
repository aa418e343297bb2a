"""Layers as vLLM has them after loading a checkpoint, prepared by the kernel classes that vLLM chooses."""

from __future__ import annotations

import contextlib
import functools
import types
from typing import NamedTuple

import operands
import reference
import torch
from vllm.config import CompilationConfig, VllmConfig, set_current_vllm_config
from vllm.config.compilation import CompilationMode
from vllm.model_executor.kernels.linear import init_fp8_linear_kernel
from vllm.model_executor.layers.quantization.utils.quant_utils import GroupShape, create_fp8_quant_key

BLOCK = (128, 128)


@functools.cache
def _configuration(custom_ops: str) -> VllmConfig:
    configuration = VllmConfig(
        compilation_config=CompilationConfig(mode=CompilationMode.NONE, custom_ops=[custom_ops])
    )
    configuration.model_config = types.SimpleNamespace(
        hf_text_config=types.SimpleNamespace(model_type="deepseek_v4"),
        dtype=torch.bfloat16,
        quantization_config=None,
    )
    return configuration


@contextlib.contextmanager
def model_configuration(custom_ops: str = "all"):
    """vLLM's configuration for V4: no torch.compile. custom_ops "all" quantises activations with compiled operators, "none"
    with vLLM's own torch code."""
    with set_current_vllm_config(_configuration(custom_ops)):
        yield


class Layer(NamedTuple):
    """A prepared layer, the kernel that vLLM chose for it, and its weight in double precision."""

    module: torch.nn.Module
    kernel: object
    weight: torch.Tensor


def block_scales(
    generator: torch.Generator, rows: int, k: int, form: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """Scales of blocks of 128 by 128 as a checkpoint has them, and as numbers. form: e8m0, uint8, f32 (powers of two), or
    fraction (FP32, 1 to 7 quarters of a power of two)."""
    shape = (-(-rows // 128), -(-k // 128))
    exponents = operands.exponents(generator, shape)
    values = reference.powers(exponents)
    if form == "e8m0":
        return exponents.view(operands.E8M0), values
    if form == "uint8":
        return exponents, values
    if form == "fraction":
        values = values * torch.randint(1, 8, shape, generator=generator) / 4
    return values.float(), values


def choose_kernel(weight_shape: tuple[int, int]):
    """What vLLM chooses for a linear layer with 128 by 128 FP8 weights and dynamic activation scales."""
    return init_fp8_linear_kernel(
        activation_quant_key=create_fp8_quant_key(static=False, group_shape=GroupShape(1, 128)),
        weight_quant_key=create_fp8_quant_key(static=True, group_shape=GroupShape(*BLOCK)),
        input_dtype=torch.bfloat16,
        out_dtype=torch.bfloat16,
        weight_shape=weight_shape,
    )


def raw_layer(weight: torch.Tensor, scales: torch.Tensor, groups: int = 0) -> torch.nn.Module:
    """A layer as the loader leaves it. groups: wo_a, whose product is one per group."""
    module = torch.nn.Module()
    module.weight = torch.nn.Parameter(weight, requires_grad=False)
    module.weight_scale_inv = torch.nn.Parameter(scales, requires_grad=False)
    module.weight_block_size = list(BLOCK)
    if groups:
        module.is_bmm, module.bmm_batch_size = True, groups
    return module


def linear_layer(
    generator: torch.Generator, n: int, k: int, form: str = "e8m0", groups: int = 0, custom_ops: str = "all"
) -> Layer:
    """A layer with integer weights, prepared by vLLM as after loading."""
    values = operands.integers(generator, (n, k))
    scales, scale_values = block_scales(generator, n, k, form)
    module = raw_layer(operands.e4m3(values), scales, groups)
    with model_configuration(custom_ops):
        kernel = choose_kernel((n, k))
        kernel.process_weights_after_loading(module)
    return Layer(module, kernel, values * reference.spread(scale_values, n, k, BLOCK))
