"""Logits of the lightning indexer. Deepwell serves the FP8 forms; the others are forwarded.

The logit of query i and key j is kv_scale[j] * sum over heads of max(0, <q[i, h], kv[j]>) * weights[i, h], in
FP32.

The form is that of DeepGEMM 2.8: results are compressed, row i begins at its first key. Before,
`clean_logits` and `logits_dtype` stood where `max_seqlen_k` and `indices` stand now. Such calls are
recognised by a bool in the first of these places or by the names, and are answered in their own form,
whichever form the other DeepGEMM has.
"""

from __future__ import annotations

import operator
from typing import Any

from deepwell.errors import bad_argument, bad_type

from ._forward import data_of, find, forwarded, given, ours_or_theirs, runtime, shown_as, takes

__all__ = [
    "fp8_fp4_mqa_logits",
    "fp8_fp4_paged_mqa_logits",
    "get_paged_mqa_logits_metadata",
    "get_mqa_logits_metadata",
    "fp8_mqa_logits",
    "fp8_paged_mqa_logits",
    "fp8_fp4_sparse_mqa_logits",
    "fp8_fp4_paged_sparse_mqa_logits",
    "get_sparse_mqa_logits_metadata",
    "get_paged_sparse_mqa_logits_metadata",
]

_ABSENT: Any = object()


@shown_as(lambda q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, max_seqlen_k, schedule_meta=None: None)
def fp8_fp4_mqa_logits(
    q,
    kv,
    weights,
    cu_seq_len_k_start,
    cu_seq_len_k_end,
    max_seqlen_k=_ABSENT,
    schedule_meta=None,
    *older,
    **names,
):
    """Logits of queries against one range of keys each.

    q: (data, scale or None). FP8: data [s, heads, dim] float8_e4m3fn, no scale; 1 to 64 heads, dim 32, 64 or 128.
        FP4, forwarded: [s, heads, dim / 2] int8 with int32 scales [s, heads] of four UE8M0 bytes.
    kv: (data [keys, dim], float32 scale [keys]), or FP4 likewise with int32 scales.
    weights: float32 [s, heads], last stride 1. cu_seq_len_k_start, cu_seq_len_k_end: int32 [s], the keys of row i
        are start[i] <= j < end[i]. A range that is reversed or does not fit is clipped, which is noted
        (deepwell.raise_notes).
    max_seqlen_k: keys per row at most. Returns [s, max_seqlen_k] float32, element [i, j - start[i]]; elements
        past a row's keys are unspecified. A logit is never NaN: it is -inf then, which is noted.
    schedule_meta: from get_mqa_logits_metadata, SM 10.x only; forwarded.

    Before DeepGEMM 2.8: `clean_logits=True, max_seqlen_k=0, logits_dtype=torch.float32` from the sixth
    argument on. A bool there, one of those names, or no sixth argument means that form. With max_seqlen_k 0
    its result is [s, keys], element [i, j], and -inf outside of a row's keys.
    Raises BadTypeError for a form that no version has.
    """
    clean, width, dtype, schedule_meta = _mqa_form(max_seqlen_k, schedule_meta, older, names)

    def theirs():
        return _their_mqa_logits(
            q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, clean, width, dtype, schedule_meta
        )

    native = None
    if schedule_meta is None:
        native = _fp8_mqa_logits(q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, clean, width, dtype)
    return ours_or_theirs("fp8_fp4_mqa_logits", data_of(q), native, theirs)


def _is_fp8(q: Any) -> bool:
    """Whether q is a pair without a scale, or one of FP4, which the native module refuses by name."""
    if not isinstance(q, (tuple, list)) or len(q) != 2:
        raise bad_type("q", type(q).__name__, "a pair (data, scale or None)")
    return q[1] is None or "float8" not in str(getattr(q[0], "dtype", ""))


def _fp8_mqa_logits(q, kv, weights, start, end, clean, width, dtype) -> Any:
    """Asks Deepwell, when it is called; None for a form of q that it has no kernels for."""
    if not _is_fp8(q):
        return None
    if not isinstance(kv, (tuple, list)) or len(kv) != 2:
        raise bad_type("kv", type(kv).__name__, "a pair (data, scale)")

    def ask():
        _check_type(dtype)
        logits = runtime().fp8_mqa_logits(q[0], kv[0], kv[1], weights, start, end, width, clean)
        return logits if logits is None or dtype is None else logits.to(dtype)

    return ask


def _their_mqa_logits(
    q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, clean, width, dtype, schedule_meta
) -> Any:
    """The other DeepGEMM's answer, whichever form it has."""
    function = find("mqa_logits", "fp8_fp4_mqa_logits")
    if takes(function, "clean_logits"):
        return function(
            q,
            kv,
            weights,
            cu_seq_len_k_start,
            cu_seq_len_k_end,
            clean_logits=clean,
            max_seqlen_k=width,
            **given(logits_dtype=dtype, schedule_meta=schedule_meta),
        )
    if clean and width:
        raise bad_argument(
            "clean_logits", True, "False beside max_seqlen_k: columns past a row's keys are unspecified"
        )
    keys = kv[0].shape[0]
    options = given(schedule_meta=schedule_meta)
    logits = function(q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, width or keys, **options)
    if not width:
        logits = _spread(logits, cu_seq_len_k_start, cu_seq_len_k_end, keys)
    return logits if dtype is None else logits.to(dtype)


def _whole(value: Any) -> int | None:
    """An int of any class (NumPy's too), but no bool; else None."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        return None
    try:
        return operator.index(value)
    except TypeError:
        return None


def _mqa_form(sixth: Any, seventh: Any, older: tuple, names: dict) -> tuple[bool, int, Any, Any]:
    """(clean_logits, max_seqlen_k or 0, logits dtype or None, schedule_meta) of a call of any version."""
    unknown = set(names) - {"clean_logits", "logits_dtype"}
    if unknown:
        raise bad_type("fp8_fp4_mqa_logits", ", ".join(sorted(unknown)), "the names of DeepGEMM 2.5 to 2.8")
    if isinstance(sixth, bool):
        if len(older) > 1 or "clean_logits" in names or (older and "logits_dtype" in names):
            raise bad_type(
                "fp8_fp4_mqa_logits", "an argument twice, or too many", "at most eight in the older form"
            )
        width = 0 if seventh is None else _whole(seventh)
        if width is None:
            raise bad_type(
                "max_seqlen_k", repr(seventh), "an int after a bool in the sixth place (clean_logits)"
            )
        return sixth, width, older[0] if older else names.get("logits_dtype"), None
    if older or isinstance(seventh, int):
        raise bad_type(
            "schedule_meta", repr(seventh), "a tensor or None after an int in the sixth place (max_seqlen_k)"
        )
    if sixth is _ABSENT:
        return names.get("clean_logits", True), 0, names.get("logits_dtype"), seventh
    width = _whole(sixth)
    if width is None:
        raise bad_type(
            "max_seqlen_k", type(sixth).__name__, "an int, or a bool that is the older clean_logits"
        )
    return names.get("clean_logits", width == 0), width, names.get("logits_dtype"), seventh


def _spread(logits: Any, start: Any, end: Any, keys: int) -> Any:
    """Compressed logits [s, keys] at their keys' columns, -inf elsewhere. Does not wait for the device."""
    import torch

    column = torch.arange(keys, device=logits.device)
    first = start.clamp(0, keys).long()[:, None]
    valid = column < end.clamp(max=keys).long()[:, None] - first
    # One column more takes what is not valid.
    spread = torch.full((logits.shape[0], keys + 1), float("-inf"), dtype=logits.dtype, device=logits.device)
    spread.scatter_(
        1, torch.where(valid, column + first, keys), torch.where(valid, logits[:, :keys], float("-inf"))
    )
    return spread[:, :keys]


@shown_as(
    lambda q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, indices=None: None
)
def fp8_fp4_paged_mqa_logits(
    q,
    kv_cache,
    weights,
    context_lens,
    block_table,
    schedule_meta,
    max_context_len,
    indices=None,
    *older,
    **names,
):
    """Logits of the newest tokens of each request against its pages of keys.

    q: (data, scale or None); FP8 [batch, next_n, heads, dim], 1 to 64 heads, dim 32, 64 or 128; FP4, forwarded:
        [batch, next_n, heads, dim / 2] int8 with int32 scales [batch, next_n, heads].
    kv_cache: uint8 [pages, page_size, 1, dim + 4] (FP4: dim / 2 + 4): in a page of 32, 64 or 128 all values come
        first, then all scales. The page stride is free.
    weights: float32 [batch * next_n, heads]. context_lens: int32 [batch, next_n]; a row has its own length, what does
        not fit is clipped and noted (deepwell.raise_notes). block_table: int32 [batch, pages per request]; keys of
        an entry that is no page get -inf, which is noted.
    schedule_meta: from get_paged_mqa_logits_metadata. Deepwell does not need it, a stale one changes nothing.
    indices: int32 [batch], the sequence of each token, where next_n is 1 and tokens share sequences.
    Returns [batch * next_n, max_context_len] float32; elements past a row's length are unspecified. A logit is never
    NaN: it is -inf then, which is noted.

    Before DeepGEMM 2.8: `clean_logits=False, logits_dtype=torch.float32, indices=None` from the eighth
    argument on. A bool there or one of those names means that form; clean_logits must be False in it.
    Raises BadTypeError for a form that no version has.
    """
    unknown = set(names) - {"clean_logits", "logits_dtype"}
    if unknown:
        raise bad_type(
            "fp8_fp4_paged_mqa_logits", ", ".join(sorted(unknown)), "the names of DeepGEMM 2.5 to 2.8"
        )
    clean, dtype = names.get("clean_logits", False), names.get("logits_dtype")
    if isinstance(indices, bool):
        if len(older) > 2 or "clean_logits" in names or (older and "logits_dtype" in names):
            raise bad_type(
                "fp8_fp4_paged_mqa_logits", "an argument twice, or too many", "at most ten in the older form"
            )
        clean, indices = indices, older[1] if len(older) > 1 else None
        dtype = older[0] if older else dtype
    elif older:
        raise bad_type(
            "fp8_fp4_paged_mqa_logits",
            f"{8 + len(older)} arguments",
            "at most 8, or a bool in the eighth place",
        )
    elif indices is not None and not hasattr(indices, "dtype"):
        raise bad_type(
            "indices", type(indices).__name__, "a tensor, or a bool that is the older clean_logits"
        )

    def theirs():
        return _their_paged_mqa_logits(
            q,
            kv_cache,
            weights,
            context_lens,
            block_table,
            schedule_meta,
            max_context_len,
            clean,
            dtype,
            indices,
        )

    native = _fp8_paged_mqa_logits(
        q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, clean, dtype, indices
    )
    return ours_or_theirs("fp8_fp4_paged_mqa_logits", data_of(q), native, theirs)


def _fp8_paged_mqa_logits(
    q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, clean, dtype, indices
) -> Any:
    """As _fp8_mqa_logits."""
    if not _is_fp8(q):
        return None

    def ask():
        _check_type(dtype)
        columns = _count("max_context_len", max_context_len)
        logits = runtime().fp8_paged_mqa_logits(
            q[0], kv_cache, weights, context_lens, block_table, schedule_meta, columns, indices
        )
        if logits is not None and clean:
            raise _no_clean()
        return logits if logits is None or dtype is None else logits.to(dtype)

    return ask


def _check_type(dtype: Any) -> None:
    """Of logits, in the older form."""
    if dtype is not None and str(dtype) not in ("torch.float32", "torch.bfloat16"):
        raise bad_argument("logits_dtype", dtype, "torch.float32 or torch.bfloat16")


def _count(name: str, value: Any) -> int:
    whole = _whole(value)
    if whole is None:
        raise bad_type(name, type(value).__name__, "an int")
    return whole


def _no_clean() -> Exception:
    return bad_argument("clean_logits", True, "False: elements past a row's length are unspecified")


def _their_paged_mqa_logits(
    q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, clean, dtype, indices
) -> Any:
    """The other DeepGEMM's answer, whichever form it has."""
    function = find("mqa_logits", "fp8_fp4_paged_mqa_logits")
    options = given(indices=indices)
    if takes(function, "clean_logits"):
        options.update(given(clean_logits=clean, logits_dtype=dtype))
        dtype = None
    elif clean:
        raise _no_clean()
    logits = function(
        q, kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len, **options
    )
    return logits if dtype is None else logits.to(dtype)


def fp8_mqa_logits(q, kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, clean_logits=True, max_seqlen_k=0):
    """The older form of fp8_fp4_mqa_logits for FP8: q is the data alone. Dropped in DeepGEMM 2.8."""
    arguments = (kv, weights, cu_seq_len_k_start, cu_seq_len_k_end, clean_logits, max_seqlen_k)

    def theirs():
        function = _find_or_none("fp8_mqa_logits")
        return function(q, *arguments) if function else fp8_fp4_mqa_logits((q, None), *arguments)

    width = _whole(max_seqlen_k) or 0
    native = _fp8_mqa_logits((q, None), *arguments[:4], bool(clean_logits), width, None)
    return ours_or_theirs("fp8_mqa_logits", q, native, theirs)


def fp8_paged_mqa_logits(
    q,
    kv_cache,
    weights,
    context_lens,
    block_table,
    schedule_meta,
    max_context_len,
    clean_logits=False,
    indices=None,
):
    """The older form of fp8_fp4_paged_mqa_logits for FP8: q is the data alone. Dropped in DeepGEMM 2.8."""
    arguments = (kv_cache, weights, context_lens, block_table, schedule_meta, max_context_len)

    def theirs():
        function = _find_or_none("fp8_paged_mqa_logits")
        if function is None:
            return fp8_fp4_paged_mqa_logits((q, None), *arguments, indices, clean_logits=clean_logits)
        return function(q, *arguments, clean_logits, **given(indices=indices))

    native = _fp8_paged_mqa_logits((q, None), *arguments, bool(clean_logits), None, indices)
    return ours_or_theirs("fp8_paged_mqa_logits", q, native, theirs)


def _find_or_none(name: str) -> Any:
    from deepwell import _other

    return _other.attribute(name)


def get_paged_mqa_logits_metadata(context_lens, block_kv, num_sms, indices=None):
    """The schedule of fp8_fp4_paged_mqa_logits: int32 [num_sms + 1, 2], where equal shares of the work begin.

    context_lens: int32 [batch, next_n], contiguous. block_kv: tokens per page. num_sms: get_num_sms().
    """

    def ask():
        return runtime().paged_mqa_logits_metadata(
            context_lens, block_kv, _count("num_sms", num_sms), indices
        )

    def theirs():
        function = find("mqa_logits", "get_paged_mqa_logits_metadata")
        return function(context_lens, block_kv, num_sms, **given(indices=indices))

    return ours_or_theirs("get_paged_mqa_logits_metadata", context_lens, ask, theirs)


@forwarded("mqa_schedule")
def get_mqa_logits_metadata(cu_seq_len_k_start, cu_seq_len_k_end, num_kv_tokens, num_heads):
    """The schedule of fp8_fp4_mqa_logits on SM 10.x: int32, one axis, opaque. Forwarded."""


@forwarded("sparse_mqa_logits")
def get_sparse_mqa_logits_metadata(
    cu_seq_len_k_start,
    cu_seq_len_k_end,
    num_kv_tokens,
    sparse_kv_block_indices,
    qk_dtype,
    sparse_block_kv,
    use_unaligned_ks=False,
):
    """The schedule of fp8_fp4_sparse_mqa_logits, SM 10.x: uint8, one axis, opaque. Forwarded."""


@forwarded("sparse_mqa_logits")
def get_paged_sparse_mqa_logits_metadata(
    context_lens, block_table, indices, page_kv, sparse_kv_block_indices, qk_dtype, sparse_block_kv
):
    """The schedule of fp8_fp4_paged_sparse_mqa_logits, SM 10.x: uint8, one axis, opaque. Forwarded."""


@forwarded("sparse_mqa_logits")
def fp8_fp4_sparse_mqa_logits(
    q, kv, weights, metadata, num_max_sparse_blocks, sparse_block_kv, use_unaligned_ks=False
):
    """Logits against chosen blocks of keys, SM 10.x: bfloat16 [tokens, blocks * sparse_block_kv].
    Forwarded.
    """


@forwarded("sparse_mqa_logits")
def fp8_fp4_paged_sparse_mqa_logits(q, kv_cache, weights, metadata, num_max_sparse_blocks, sparse_block_kv):
    """As fp8_fp4_sparse_mqa_logits with keys in pages. Forwarded."""
