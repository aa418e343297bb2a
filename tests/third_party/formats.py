"""Number formats as numpy codes: bf16, e4m3, e5m2, e2m1, ue8m0; values are float64, rounding is to nearest even."""

import numpy as np


def _table(bits, mantissa, bias, special=None):
    codes = np.arange(1 << bits)
    sign = np.where(codes >> (bits - 1), -1.0, 1.0)
    exponent = (codes >> mantissa) & ((1 << (bits - 1 - mantissa)) - 1)
    fraction = codes & ((1 << mantissa) - 1)
    values = np.where(
        exponent == 0,
        fraction * 2.0 ** (1 - bias - mantissa),
        (1 + fraction * 2.0**-mantissa) * 2.0 ** (exponent - bias),
    )
    values = sign * values
    for code, value in (special or {}).items():
        values[code] = value
    return values


E2M1 = _table(4, 1, 1)
E4M3 = _table(8, 3, 7, {0x7F: np.nan, 0xFF: np.nan})
E5M2 = _table(
    8,
    2,
    15,
    {
        c: np.inf if c == 0x7C else -np.inf if c == 0xFC else np.nan
        for c in (0x7C, 0x7D, 0x7E, 0x7F, 0xFC, 0xFD, 0xFE, 0xFF)
    },
)


def ue8m0(codes):
    return 2.0 ** (np.asarray(codes, np.float64) - 127)


def bf16(codes):
    return (np.asarray(codes, np.uint16).astype(np.uint32) << 16).view(np.float32).astype(np.float64)


def to_bf16(values):
    """Codes of the nearest bf16 of float32 values."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def _nearest(values, table, sign_bit):
    positive = table[:sign_bit]
    finite = np.flatnonzero(np.isfinite(positive))
    grid = positive[finite]
    magnitude = np.abs(np.asarray(values, np.float64))
    above = np.clip(np.searchsorted(grid, magnitude), 1, len(grid) - 1)
    low, high = grid[above - 1], grid[above]
    up = (magnitude - low > high - magnitude) | (
        (magnitude - low == high - magnitude) & (finite[above] % 2 == 0)
    )
    code = np.where(up, finite[above], finite[above - 1])
    return (code | np.where(np.signbit(values), sign_bit, 0)).astype(np.uint8)


def to_e2m1(values):
    """Saturating."""
    return _nearest(values, E2M1, 8)


def to_e4m3(values):
    """Saturating."""
    return _nearest(values, E4M3, 128)


def pack4(codes):
    """Two 4-bit codes a byte along the last axis, the first in the low half."""
    codes = np.asarray(codes, np.uint8)
    return codes[..., 0::2] | (codes[..., 1::2] << 4)


def unpack4(packed):
    packed = np.asarray(packed, np.uint8)
    return np.stack([packed & 15, packed >> 4], axis=-1).reshape(*packed.shape[:-1], -1)


def half_ulp(values, kind):
    """Half the distance between neighbours of "bf16" or "f16" around the values: what one rounding may be off."""
    bits, lowest = {"bf16": (7, -126), "f16": (10, -14)}[kind]
    magnitude = np.abs(np.asarray(values, np.float64))
    exponent = np.floor(np.log2(np.where(magnitude > 0, magnitude, 1.0)))
    return 2.0 ** (np.maximum(np.where(magnitude > 0, exponent, lowest), lowest) - bits - 1)
