"""deep_gemm.utils.math against independent computations: tables of all codes, exact fractions, loops."""

from fractions import Fraction

import pytest
import torch
from deep_gemm.utils import math as dgm
from deepwell.errors import BadArgumentError, BadTypeError


def e4m3_value(code):
    """The value of an e4m3 code from its definition."""
    exponent, fraction = code >> 3 & 15, code & 7
    magnitude = (
        Fraction(fraction, 8) * Fraction(1, 64)
        if exponent == 0
        else (1 + Fraction(fraction, 8)) * Fraction(2) ** (exponent - 7)
    )
    return -magnitude if code & 0x80 else magnitude


E2M1 = [Fraction(each) for each in ("0", "0.5", "1", "1.5", "2", "3", "4", "6")]
E4M3 = [e4m3_value(code) for code in range(0x7F)]


def nearest(value, table):
    """The index of the nearest entry of an ascending table; midway, the even index; beyond, the last."""
    return min(range(len(table)), key=lambda index: (abs(table[index] - value), index % 2))


def codes_e4m3(values):
    out = []
    for value in values:
        code = nearest(abs(Fraction(value)), E4M3)
        out.append(code | (0x80 if value < 0 else 0))
    return torch.tensor(out, dtype=torch.uint8)


def same_e4m3(data, expected):
    """Equal bytes, where both zeros are one."""
    got = data.contiguous().view(torch.uint8).flatten()
    return torch.equal(torch.where(got == 0x80, 0, got), torch.where(expected == 0x80, 0, expected))


def random_matrix(m, n, seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    spread = 2.0 ** torch.randint(-12, 12, (m, n), generator=generator)
    return (torch.randn(m, n, generator=generator) * spread).to(dtype)


def f32(value):
    return torch.tensor(value, dtype=torch.float32)


def scale_of(amax, largest, use_ue8m0):
    """The scale of one block, in the float32 steps of its definition."""
    scale = f32(max(float(amax), float(f32(1e-4)))) / f32(largest)
    return power_of_two_above(float(scale)) if use_ue8m0 else float(scale)


def power_of_two_above(value):
    exponent = -126
    while 2.0**exponent < value and exponent < 127:
        exponent += 1
    return 2.0**exponent


def test_integers():
    for x in range(50):
        for y in range(1, 20):
            assert dgm.ceil_div(x, y) == (x + y - 1) // y
            assert dgm.align(x, y) == (x + y - 1) // y * y


def test_ceil_to_ue8m0():
    values = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        1.5,
        2.0,
        2.0000002,
        3e38,
        1e-38,
        1e-45,
        2.0**-126,
        2.0**-127,
        0.7,
        -0.7,
        2.0**127,
    ]
    out = dgm.ceil_to_ue8m0(torch.tensor(values))
    assert out.dtype == torch.float32
    assert out.tolist() == [power_of_two_above(abs(float(f32(value)))) for value in values]
    assert dgm.ceil_to_ue8m0(torch.tensor([float("inf"), float("nan")])).tolist() == [2.0**127, 2.0**127]
    column = torch.rand(6, 4)[:, 1]  # not contiguous
    assert torch.equal(dgm.ceil_to_ue8m0(column), dgm.ceil_to_ue8m0(column.contiguous()))


def test_pack_and_unpack_ue8m0():
    exponents = torch.randint(1, 255, (3, 5, 8), generator=torch.Generator().manual_seed(1))
    x = (2.0 ** (exponents.double() - 127)).float()
    packed = dgm.pack_ue8m0_to_int(x)
    assert packed.dtype == torch.int32 and packed.shape == (3, 5, 2) and packed.is_contiguous()
    for index in range(4):
        assert torch.equal(packed.long() >> 8 * index & 255, exponents[:, :, index::4])
    assert torch.equal(dgm.unpack_ue8m0_from_int(packed), x)
    assert torch.equal(dgm.unpack_ue8m0_from_int(packed.transpose(0, 1)), x.transpose(0, 1))
    strided = x.transpose(0, 1)
    assert torch.equal(dgm.pack_ue8m0_to_int(strided), packed.transpose(0, 1))
    assert dgm.pack_ue8m0_to_int(torch.zeros(2, 0)).shape == (2, 0)


@pytest.mark.parametrize("bad", [1.5, -1.0, -0.0, 3.0, 1e-40])
def test_pack_refuses_what_it_cannot_hold(bad):
    x = torch.ones(2, 4)
    x[1, 2] = bad
    with pytest.raises(BadArgumentError):
        dgm.pack_ue8m0_to_int(x)


def test_pack_refuses_shapes_and_types():
    with pytest.raises(BadArgumentError):
        dgm.pack_ue8m0_to_int(torch.ones(2, 3))
    with pytest.raises(BadTypeError):
        dgm.pack_ue8m0_to_int(torch.ones(2, 4, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("use_ue8m0", [False, True])
@pytest.mark.parametrize(
    ("m", "n", "gran_k"), [(3, 256, 128), (2, 200, 128), (4, 96, 32), (1, 40, 32), (0, 64, 32)]
)
def test_per_token_cast_to_fp8(m, n, gran_k, use_ue8m0, dtype):
    x = random_matrix(m, n, 2, dtype)
    data, sf = dgm.per_token_cast_to_fp8(x, use_ue8m0, gran_k)
    assert data.dtype == torch.float8_e4m3fn and data.shape == (m, n) and data.is_contiguous()
    assert sf.dtype == torch.float32 and sf.shape == (m, -(-n // gran_k))
    for row in range(m):
        for group in range(sf.shape[1]):
            block = x[row, group * gran_k : (group + 1) * gran_k].float()
            scale = scale_of(block.abs().max(), 448, use_ue8m0)
            assert float(sf[row, group]) == scale
            scaled = (block * (f32(1.0) / f32(scale))).tolist()
            assert same_e4m3(data[row, group * gran_k : (group + 1) * gran_k], codes_e4m3(scaled))


def test_per_token_cast_to_fp8_packed():
    x = random_matrix(5, 300, 3)
    data, packed = dgm.per_token_cast_to_fp8(x, True, 32, True)
    plain, sf = dgm.per_token_cast_to_fp8(x, True, 32)
    assert torch.equal(data.view(torch.uint8), plain.view(torch.uint8))
    assert packed.dtype == torch.int32 and packed.shape == (5, 3)
    unpacked = dgm.unpack_ue8m0_from_int(packed)
    assert torch.equal(unpacked[:, :10], sf) and torch.equal(unpacked[:, 10:], torch.ones(5, 2))
    back = dgm.cast_back_from_fp8(data, packed, 32, True)
    assert torch.equal(back, data.float() * sf.repeat_interleave(32, dim=1)[:, :300])
    assert torch.equal(dgm.cast_back_from_fp8(data, sf, 32), back)


@pytest.mark.parametrize("use_ue8m0", [False, True])
def test_per_channel_cast_to_fp8(use_ue8m0):
    x = random_matrix(64, 5, 4)
    data, sf = dgm.per_channel_cast_to_fp8(x, use_ue8m0, 32)
    assert sf.shape == (2, 5) and data.shape == (64, 5)
    for group in range(2):
        for column in range(5):
            block = x[group * 32 : (group + 1) * 32, column]
            scale = scale_of(block.abs().max(), 448, use_ue8m0)
            assert float(sf[group, column]) == scale
            scaled = (block * (f32(1.0) / f32(scale))).tolist()
            assert same_e4m3(data[group * 32 : (group + 1) * 32, column], codes_e4m3(scaled))
    with pytest.raises(BadArgumentError):
        dgm.per_channel_cast_to_fp8(x, use_ue8m0, 128)


@pytest.mark.parametrize("use_ue8m0", [False, True])
def test_per_block_cast_to_fp8(use_ue8m0):
    x = random_matrix(40, 70, 5)
    data, sf = dgm.per_block_cast_to_fp8(x, use_ue8m0, 32)
    assert sf.shape == (2, 3) and data.shape == (40, 70) and data.is_contiguous()
    for i in range(2):
        for j in range(3):
            part = (slice(i * 32, (i + 1) * 32), slice(j * 32, (j + 1) * 32))
            scale = scale_of(x[part].abs().max(), 448, use_ue8m0)
            assert float(sf[i, j]) == scale
            scaled = (x[part].flatten() * (f32(1.0) / f32(scale))).tolist()
            assert same_e4m3(data[part], codes_e4m3(scaled))


@pytest.mark.parametrize("dims", [(0,), (1,), (0, 2), (-1,), (0, 1, 2), ()])
def test_per_custom_dims_cast_to_fp8(dims):
    x = random_matrix(6, 20, 6).reshape(3, 4, 10)
    data, sf = dgm.per_custom_dims_cast_to_fp8(x, dims, False)
    kept = sorted(each % 3 for each in dims)
    assert list(sf.shape) == [x.shape[each] for each in kept]
    assert data.shape == x.shape
    for position in (
        torch.cartesian_prod(*[torch.arange(x.shape[each]) for each in kept]).reshape(-1, max(1, len(kept)))
        if kept
        else [None]
    ):
        part = [slice(None)] * 3
        for axis, value in zip(kept, position if kept else (), strict=True):
            part[axis] = int(value)
        part = tuple(part)
        scale = scale_of(x[part].abs().max(), 448, False)
        assert float(sf[tuple(int(each) for each in position)] if kept else sf) == scale
        assert same_e4m3(data[part], codes_e4m3((x[part].flatten() * (f32(1.0) / f32(scale))).tolist()))


def test_e2m1_rounding_at_and_around_every_midpoint():
    """Midway values take the even code: 0.75, 1.75 and 3.5 go up, the others down. 2.8 changed this."""
    middles = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]
    values = [0.0, -0.0, 6.0, 7.0, 1e9, *middles]
    values += [float(torch.nextafter(f32(each), f32(toward))) for each in middles for toward in (0.0, 9.0)]
    values += [-each for each in values]
    codes = dgm._e2m1_codes(torch.tensor(values)).tolist()
    for value, code in zip(values, codes, strict=True):
        magnitude = nearest(abs(Fraction(value)), E2M1)
        assert code == (magnitude | (8 if value < 0 and magnitude else 0)), value
    assert [dgm._e2m1_codes(f32([middle])).item() for middle in middles] == [0, 2, 2, 4, 4, 6, 6]


def unpack_slowly(packed):
    """Codes of packed e2m1, one by one."""
    rows = []
    for row in packed.view(torch.uint8).tolist():
        rows.append([code for byte in row for code in (byte & 15, byte >> 4)])
    return rows


@pytest.mark.parametrize("use_ue8m0", [False, True])
@pytest.mark.parametrize(("m", "n", "gran_k"), [(3, 256, 128), (2, 72, 32), (0, 64, 32)])
def test_per_token_cast_to_fp4(m, n, gran_k, use_ue8m0):
    x = random_matrix(m, n, 7)
    packed, sf = dgm.per_token_cast_to_fp4(x, use_ue8m0, gran_k)
    assert packed.dtype == torch.int8 and packed.shape == (m, n // 2) and packed.is_contiguous()
    codes = unpack_slowly(packed)
    for row in range(m):
        for group in range(sf.shape[1]):
            block = x[row, group * gran_k : (group + 1) * gran_k]
            scale = scale_of(block.abs().max(), 6, use_ue8m0)
            assert float(sf[row, group]) == scale
            for index, value in enumerate((block * (f32(1.0) / f32(scale))).tolist()):
                code = nearest(abs(Fraction(value)), E2M1)
                code |= 8 if value < 0 and code else 0
                assert codes[row][group * gran_k + index] == code


def test_per_token_cast_to_fp4_packed_and_back():
    x = random_matrix(4, 192, 8)
    packed, words = dgm.per_token_cast_to_fp4(x, True, 32, True)
    plain, sf = dgm.per_token_cast_to_fp4(x, True, 32)
    assert torch.equal(packed, plain) and words.shape == (4, 2)
    unpacked = dgm.unpack_ue8m0_from_int(words)
    assert torch.equal(unpacked[:, :6], sf) and torch.equal(unpacked[:, 6:], torch.ones(4, 2))
    expected = [
        [
            float((-1 if code & 8 else 1) * E2M1[code & 7]) * float(sf[row, column // 32])
            for column, code in enumerate(codes)
        ]
        for row, codes in enumerate(unpack_slowly(packed))
    ]
    assert torch.equal(dgm.cast_back_from_fp4(packed, sf, 32), torch.tensor(expected))
    assert torch.equal(dgm.cast_back_from_fp4(packed, words, 32, True), torch.tensor(expected))
    with pytest.raises(BadArgumentError):
        dgm.per_token_cast_to_fp4(x[:, :7], True)


def test_transpose_packed_fp4():
    generator = torch.Generator().manual_seed(9)
    packed = torch.randint(0, 256, (6, 5), generator=generator).to(torch.uint8).view(torch.int8)
    turned = dgm.transpose_packed_fp4(packed)
    assert turned.dtype == torch.int8 and turned.shape == (10, 3) and turned.is_contiguous()
    codes, back = unpack_slowly(packed), unpack_slowly(turned)
    assert all(codes[i][j] == back[j][i] for i in range(6) for j in range(10))
    assert torch.equal(dgm.transpose_packed_fp4(turned), packed)
    strided = torch.randint(0, 256, (5, 6), generator=generator).to(torch.uint8).view(torch.int8).T
    assert torch.equal(dgm.transpose_packed_fp4(strided), dgm.transpose_packed_fp4(strided.contiguous()))
    with pytest.raises(BadArgumentError):
        dgm.transpose_packed_fp4(packed[:5])


@pytest.mark.parametrize("global_scale", [None, 0.5, 2.0**-6])
def test_per_token_cast_to_nvfp4(global_scale):
    x = random_matrix(3, 64, 10) / 256
    packed, sf = dgm.per_token_cast_to_nvfp4(x, global_scale=global_scale)
    outer = global_scale or 1.0
    codes = unpack_slowly(packed)
    for row in range(3):
        for group in range(4):
            block = x[row, group * 16 : (group + 1) * 16] / f32(outer)
            wanted = float(block.abs().max() / f32(6.0))
            scale = float(E4M3[nearest(Fraction(min(max(wanted, 2.0**-9), 448.0)), E4M3)])
            assert float(sf[row, group]) == scale
            for index, value in enumerate((block / f32(scale)).tolist()):
                code = nearest(abs(Fraction(value)), E2M1)
                assert codes[row][group * 16 + index] == (code | (8 if value < 0 and code else 0))
    _, words = dgm.per_token_cast_to_nvfp4(x, use_packed_e4m3=True, global_scale=global_scale)
    assert words.dtype == torch.int32 and words.shape == (3, 1)
    assert torch.equal(dgm.unpack_e4m3_sf_from_int(words), sf)
    _, words = dgm.per_token_cast_to_nvfp4(x[:, :48], use_packed_e4m3=True)
    assert dgm.unpack_e4m3_sf_from_int(words)[:, 3].tolist() == [1.0] * 3
    with pytest.raises(BadArgumentError):
        dgm.per_token_cast_to_nvfp4(x[:, :40])


def test_zeros_and_the_smallest_scale():
    data, sf = dgm.per_token_cast_to_fp8(torch.zeros(2, 128), False)
    assert torch.equal(data.float(), torch.zeros(2, 128))
    assert sf.tolist() == [[float(f32(1e-4) / f32(448))]] * 2


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
def test_only_matrices_are_cast(shape):
    for cast in (
        dgm.per_token_cast_to_fp8,
        dgm.per_block_cast_to_fp8,
        dgm.per_channel_cast_to_fp8,
        dgm.per_token_cast_to_fp4,
    ):
        with pytest.raises(BadArgumentError):
            cast(torch.zeros(shape), True)
