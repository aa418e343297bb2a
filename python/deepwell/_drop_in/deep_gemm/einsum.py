"""Batched products that are written as an expression."""

from __future__ import annotations

from typing import Any

from deepwell import _other
from deepwell.errors import DeepwellError, ToolchainError, UnsupportedError, bad_type

from ._forward import find, forwarded, given, no_pair, on_cpu, runtime, takes, their_epilogue

__all__ = ["einsum", "fp8_einsum"]


def _native(*arguments: Any) -> bool:
    """The native fp8_einsum, which takes this name's place at the first call: loading it is left until
    then.
    """
    global _native
    _native = runtime().fp8_einsum
    return _native(*arguments)


def fp8_einsum(
    expr, a, b, d, c=None, recipe=(1, 128, 128), epilogue=None, use_128x4_sfd_layout=False
) -> None:
    """One FP8 product per head, of operands with block scales.

    expr: one of
        bhr,hdr->bhd  D[b, h, d] = sum over r of A[b, h, r] B[h, d, r]: served by Deepwell
        bhd,hdr->bhr  D[b, h, r] = sum over d of A[b, h, d] B[h, d, r]: forwarded
        bhd,bhr->hdr  D[h, d, r] = sum over b of A[b, h, d] B[b, h, r]: forwarded
    a, b: pairs (float8_e4m3fn data, scale). The scale of each has its data's axes in the data's order, the
        ones that it covers in blocks divided by the recipe's numbers: for the first expression a's is [b, h,
        ceil(r / gran_k)] and b's [h, ceil(d / gran_n), ceil(r / gran_k)], float32 or UE8M0 bytes; or int32
        with four UE8M0 bytes along r and gran_n 1. b of the first expression may also be given as [h * d, r],
        with its scale in two axes likewise.
    d: bfloat16 or float32; last stride 1. (d, sfd) asks for quantised output, on SM 10.x only, as does
        `epilogue`.
    c: added before rounding; d's shape and dtype. recipe: (gran_m, gran_n, gran_k).
    use_128x4_sfd_layout: layout of sfd.

    Raises BadArgumentError for operands that do not fit together, UnsupportedError for what nothing here
    serves.
    """
    try:
        if (
            epilogue is None
            and d.__class__ is not tuple
            and d.__class__ is not list
            and _native(expr, a[0], a[1], b[0], b[1], d, c, recipe)
        ):
            return
    except (UnsupportedError, ToolchainError) as error:
        if _other.attribute("fp8_einsum") is None:
            raise
        try:
            _elsewhere(expr, a, b, d, c, recipe, epilogue, use_128x4_sfd_layout)
        except Exception:
            if on_cpu(a[0]):
                raise error from None
            raise
        return
    except DeepwellError:
        raise
    except (TypeError, IndexError) as error:
        raise no_pair(a, b, error) from error
    _elsewhere(expr, a, b, d, c, recipe, epilogue, use_128x4_sfd_layout)


def _elsewhere(expr, a, b, d, c, recipe, epilogue, use_128x4_sfd_layout) -> None:
    """The other DeepGEMM; Deepwell once more where the other one turns out not to load."""
    ours = epilogue is None and not isinstance(d, (tuple, list))
    if ours and _other.other() is None and _native(expr, a[0], a[1], b[0], b[1], d, c, recipe):
        return
    function = find("fp8_einsum", "fp8_einsum")
    options = given(c=c, epilogue=their_epilogue(epilogue), use_128x4_sfd_layout=use_128x4_sfd_layout)
    function(expr, a, b, d, recipe=recipe, **options)


def _einsum_form(function: Any, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
    """The sixth argument was `use_cublaslt`, a bool, before DeepGEMM 2.8, and is `epilogue`. 2.8 chooses by
    itself.
    """
    options = dict(kwargs)
    if len(args) > 5 and (len(args) > 6 or isinstance(args[5], bool)):
        if len(args) > 6 or "use_cublaslt" in options:
            raise bad_type("positional arguments", len(args), "at most 6, and use_cublaslt once")
        args, options["use_cublaslt"] = args[:5], args[5]
    if "use_cublaslt" in options and not takes(function, "use_cublaslt"):
        del options["use_cublaslt"]
    return args, options


@forwarded("einsum", adapt=_einsum_form)
def einsum(expr, a, b, d, c=None, epilogue=None) -> None:
    """A batched product of bfloat16 tensors. Forwarded.

    expr: `bmk,bnk->mn` (float32 d with c the same tensor, or bfloat16 d and no c), `bhr,hdr->bhd`,
    `bhd,hdr->bhr`, and since DeepGEMM 2.8 `bhd,bhr->hdr`. `use_cublaslt`, sixth before 2.8, is accepted and
    passed to a DeepGEMM that has it.
    """
