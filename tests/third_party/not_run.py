"""Kernels of the compiled files that no case launches, and why: (unit, readable entry, reason), regular expressions."""

import re

REASONS = (
    ("tinygemm2", r"64, 16, 4", "16 stages need more shared memory than SM 12.x has"),
    ("topk", r"Filtered|Finalize|StableSort", "outside of the list, which has this file's radix kernels"),
    (
        "^rope$",
        r"RotaryKernel|PosIdsKernel|PosIdsHead|CacheKernel|Quantize",
        "outside of the list, which has one form of this file",
    ),
    ("h3_pre_attention", "", "no case: NVFP4 results"),
    ("h3_nvfp4_attn", "", "no case: quantised layouts that nothing documents"),
    (
        "group_nvfp4|^mxfp8",
        "",
        "not compiled yet: half an hour each on the machine of this run; cases are written",
    ),
)


def reason_of(unit, entry):
    return next(
        (
            why
            for of_unit, of_entry, why in REASONS
            if re.search(of_unit, unit) and re.search(of_entry, entry)
        ),
        None,
    )
