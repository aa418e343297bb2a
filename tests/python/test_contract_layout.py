"""transform_sf_into_required_layout and its siblings in every form that serving code passes, byte by byte; and what such
transforms have been known to do wrong.
"""

from __future__ import annotations

import pytest
import reference as ref
import torch
from contract import device, noted, notes  # noqa: F401

import deep_gemm
from deepwell import errors


def words_of(exponent: torch.Tensor) -> torch.Tensor:
    """Exponents [.., rows, columns] as packed words, spare bytes 0."""
    columns = exponent.shape[-1]
    padded = torch.zeros(*exponent.shape[:-1], -(-columns // 4) * 4, dtype=torch.int64)
    padded[..., :columns] = exponent
    bytes_ = padded.unflatten(-1, (-1, 4)).to(torch.uint8)
    return bytes_.contiguous().view(torch.int32).squeeze(-1)


def same_words(got: torch.Tensor, exponent: torch.Tensor) -> None:
    """Type, shape, strides and every byte."""
    want = words_of(exponent)
    *batch, mn, words = want.shape
    pitch = -(-mn // 4) * 4
    assert got.dtype == torch.int32 and got.shape == want.shape
    assert got.stride() == ((*([words * pitch] if batch else []), 1, pitch))
    assert torch.equal(got, want)
    assert got.data_ptr() % 16 == 0


def transform(sf, mn, k, recipe, **options):
    return deep_gemm.transform_sf_into_required_layout(sf=sf, mn=mn, k=k, recipe=recipe, **options)


SIZES = [(128, 128), (192, 640), (256, 4096), (1536, 1152), (64, 512)]
FORMS = ("float32", "e8m0", "uint8")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("n", "k"), SIZES)
def test_block_scales_of_linear_weights_as_one_group(n, k, form):
    """recipe (1, 128, 128), an axis of one group, is_sfa False: a linear layer after loading."""
    exponent = ref.exponents((1, -(-n // 128), k // 128), n + k)
    sf = ref.scale_forms(exponent)[form]
    got = transform(sf, n, k, (1, 128, 128), num_groups=1, is_sfa=False, disable_ue8m0_cast=False)
    same_words(got, exponent.repeat_interleave(128, 1)[:, :n])


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("n", "k"), SIZES)
def test_block_scales_of_linear_weights_without_an_axis_of_groups(n, k, form):
    exponent = ref.exponents((-(-n // 128), k // 128), n + k)
    got = transform(ref.scale_forms(exponent)[form], n, k, (1, 128, 128), is_sfa=False)
    same_words(got, exponent.repeat_interleave(128, 0)[:n])


@pytest.mark.parametrize("groups", [2, 8])
def test_block_scales_of_an_o_projection_in_groups(groups):
    n, k = 256, 1024
    exponent = ref.exponents((groups, n // 128, k // 128), groups)
    got = transform(ref.scale_values(exponent).float(), n, k, (1, 128, 128), num_groups=groups, is_sfa=False)
    same_words(got, exponent.repeat_interleave(128, 1))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("experts", "n", "k"), [(3, 256, 512), (5, 72, 96), (2, 128, 4096), (1, 4, 32)])
def test_scales_per_32_of_fp4_experts(experts, n, k, form):
    """recipe (1, 1, 32), an axis of experts, is_sfa False."""
    exponent = ref.exponents((experts, n, k // 32), n)
    sf = ref.scale_forms(exponent)[form]
    same_words(transform(sf, n, k, (1, 1, 32), num_groups=experts, is_sfa=False), exponent)


@pytest.mark.parametrize("is_sfa", [True, False])
@pytest.mark.parametrize("gran_k", [32, 128])
def test_recipes_of_three_take_the_side_that_is_named(is_sfa, gran_k):
    mn, k = 256, 256
    rows = mn if is_sfa else 2
    exponent = ref.exponents((rows, k // gran_k), 7)
    got = transform(ref.scale_values(exponent).float(), mn, k, (1, 128, gran_k), is_sfa=is_sfa)
    same_words(got, exponent if is_sfa else exponent.repeat_interleave(128, 0))


@pytest.mark.parametrize(("gran_mn", "gran_k"), [(1, 32), (1, 128), (128, 32), (128, 128)])
def test_recipes_of_two(gran_mn, gran_k):
    mn, k = 200, 640
    exponent = ref.exponents((-(-mn // gran_mn), k // gran_k), 8)
    got = transform(ref.scale_values(exponent).float(), mn, k, (gran_mn, gran_k))
    same_words(got, exponent.repeat_interleave(gran_mn, 0)[:mn])


@pytest.mark.parametrize(("experts", "n", "k"), [(3, 256, 512), (5, 70, 96)])
def test_scales_of_fp4_experts_stay_fp32_where_no_cast_is_wanted(experts, n, k):
    """disable_ue8m0_cast=True beside FP4 scales, which serving code passes with VLLM_USE_DEEP_GEMM_E8M0=0: the numbers, row
    next to row, whether powers of two or not."""
    sf = torch.rand(experts, n, k // 32, generator=torch.Generator(ref.DEVICE).manual_seed(3))
    got = transform(sf, n, k, (1, 1, 32), num_groups=experts, is_sfa=False, disable_ue8m0_cast=True)
    pitch = -(-n // 4) * 4
    assert got.dtype == torch.float32 and torch.equal(got, sf)
    assert got.stride() == (k // 32 * pitch, 1, pitch)
    assert noted() == set()


def test_block_scales_are_given_back_where_no_cast_is_wanted():
    sf = torch.rand(1, 2, 5)
    got = transform(sf, 192, 640, (1, 128, 128), num_groups=1, is_sfa=False, disable_ue8m0_cast=True)
    assert got is sf


def test_packed_scales_are_given_back_with_any_legal_pitch():
    for pitch in (40, 44, 64):
        words = torch.zeros(2, pitch, dtype=torch.int32).T[:37]
        assert transform(words, 37, 640, (1, 128)) is words
        assert transform(words, 37, 640, (1, 1, 128), is_sfa=True) is words


def test_packed_scales_of_experts_are_given_back():
    words = transform(torch.ones(3, 72, 8), 72, 256, (1, 1, 32), num_groups=3, is_sfa=False)
    assert transform(words, 72, 256, (1, 1, 32), num_groups=3, is_sfa=False) is words


@pytest.mark.parametrize("order", ["rows", "columns", "slice of columns", "slice of rows"])
@pytest.mark.parametrize("gran_mn", [1, 128])
def test_any_strides_give_the_same_words(order, gran_mn):
    """Among them storage that is not aligned to 16 bytes, which faults in vector loads that assume it."""
    mn, k = 260, 640
    rows = -(-mn // gran_mn)
    exponent = ref.exponents((rows, k // 128), 5)
    values = ref.scale_values(exponent).float()
    if order == "columns":
        values = values.T.contiguous().T
    elif order == "slice of columns":
        wide = torch.full((rows, 9), float("nan"))
        wide[:, 3:8] = values
        values = wide[:, 3:8]
    elif order == "slice of rows":
        tall = torch.full((rows + 1, 5), float("nan"))
        tall[1:] = values
        values = tall[1:]
        assert values.data_ptr() % 16 != 0
    same_words(transform(values, mn, k, (gran_mn, 128)), exponent.repeat_interleave(gran_mn, 0)[:mn])


def test_fp32_scales_that_are_no_powers_of_two_stay_in_their_byte():
    """They are rounded up, noted, and touch no neighbouring byte of the word."""
    exponent = ref.exponents((37, 8), 1)
    values = ref.scale_values(exponent).float()
    values[5, 2], values[9, 3], values[36, 7] = 3.0, 0.7, 1.0000001
    got = transform(values, 37, 1024, (1, 128))
    exponent = exponent.clone()
    exponent[5, 2], exponent[9, 3], exponent[36, 7] = 129, 127, 128
    same_words(got, exponent)
    assert noted() == {"lossy_scale"}


def test_a_negative_fp32_scale_stays_in_its_byte_and_is_noted():
    exponent = ref.exponents((4, 8), 1)
    values = ref.scale_values(exponent).float()
    values[2, 1] = -values[2, 1]
    same_words(transform(values, 4, 1024, (1, 128)), exponent)
    assert noted() == {"lossy_scale"}


def test_powers_of_two_are_packed_without_a_note():
    transform(ref.scale_values(ref.exponents((37, 8), 1)).float(), 37, 1024, (1, 128))
    assert noted() == set()


def test_exponents_at_both_ends_survive():
    exponent = torch.tensor([[0, 1, 2, 127, 253, 254, 255, 9]], dtype=torch.uint8)
    same_words(transform(exponent.view(torch.float8_e8m0fnu), 1, 1024, (1, 128)), exponent)
    same_words(transform(ref.scale_values(exponent[:, :6]).float(), 1, 768, (1, 128)), exponent[:, :6])


@pytest.mark.parametrize("columns", [1, 3, 4, 9])
@pytest.mark.parametrize("groups", [None, 3])
def test_packed_words_of_the_sibling_function(columns, groups):
    shape = (37, columns) if groups is None else (groups, 37, columns)
    exponent = ref.exponents(shape, columns)
    got = deep_gemm.get_mn_major_tma_aligned_packed_ue8m0_tensor(ref.scale_values(exponent).float())
    same_words(got, exponent)


@pytest.mark.parametrize("groups", [None, 3])
def test_fp32_columns_of_the_sibling_function(groups):
    shape = (37, 5) if groups is None else (groups, 37, 5)
    values = torch.rand(shape, generator=torch.Generator(ref.DEVICE).manual_seed(2))
    got = deep_gemm.get_mn_major_tma_aligned_tensor(values)
    assert torch.equal(got, values)
    assert got.stride() == ((1, 40) if groups is None else (200, 1, 40))
    assert deep_gemm.get_mn_major_tma_aligned_tensor(got) is got


def test_packed_scales_of_the_cast_are_the_transforms():
    """pack_ue8m0_to_int, in torch, row by row: the same words, in another order of memory."""
    exponent = ref.exponents((37, 8), 1)
    values = ref.scale_values(exponent).float()
    assert torch.equal(deep_gemm.utils.math.pack_ue8m0_to_int(values), words_of(exponent))
    assert torch.equal(transform(values, 37, 1024, (1, 128)), words_of(exponent))


@pytest.mark.parametrize(
    ("argument", "sf", "arguments"),
    [
        ("scale.shape", (4, 3), (4, 256, (1, 128))),
        ("scale.shape", (3, 2), (4, 256, (1, 128))),
        ("scale.rank", (1, 4, 2), (4, 256, (1, 128))),
        ("recipe", (4, 4), (4, 256, (1, 64))),
        ("recipe", (4, 2), (4, 256, (0, 128))),
        ("is_sfa", (4, 2), (4, 256, (1, 1, 128))),
        ("recipe", (4, 2), (4, 256, (1,))),
    ],
)
def test_what_does_not_fit_is_named(argument, sf, arguments):
    with pytest.raises(errors.BadArgumentError) as caught:
        deep_gemm.transform_sf_into_required_layout(torch.ones(sf), *arguments)
    assert caught.value.argument == argument and caught.value.expected


@pytest.mark.parametrize("dtype", [torch.float16, torch.int64, torch.float64])
def test_scales_of_another_type_are_named(dtype):
    with pytest.raises(errors.BadArgumentError) as caught:
        transform(torch.ones(4, 2, dtype=dtype), 4, 256, (1, 128))
    assert caught.value.argument == "scale.dtype"


def test_packed_scales_with_a_pitch_that_is_too_small_or_odd_are_named():
    for pitch in (37, 38, 36):
        storage = torch.zeros(2 * 40, dtype=torch.int32)
        words = storage.as_strided((37, 2), (1, pitch))
        with pytest.raises(errors.BadArgumentError) as caught:
            transform(words, 37, 640, (1, 128))
        assert caught.value.argument == "scale.strides"
