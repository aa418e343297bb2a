"""Kernels of the compiled files that no case launches, and why: (unit, readable entry, reason), regular expressions."""

import re

REASONS = (
    ("tinygemm2", r"64, 16, 4", "16 stages need more shared memory than SM 12.x has"),
    ("h3_", "", "no case yet"),
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
