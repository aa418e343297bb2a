"""fp8_fp4_gemm_* and fp8_einsum: what reaches the native module, what goes on, and operands in the other
order.
"""

import deep_gemm
import pytest
import torch
from deepwell import _other
from deepwell.errors import (
    BadArgumentError,
    BadTypeError,
    DeviceError,
    MissingError,
    ToolchainError,
    UnsupportedError,
    bad_argument,
    bad_type,
)

E2M1 = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0)
FORMS = ("nt", "nn", "tn", "tt")


def values_of(data):
    """Values of e4m3 or of packed e2m1, element by element."""
    if data.dtype == torch.float8_e4m3fn:
        return data.float()
    table = torch.tensor(E2M1)
    code = data.contiguous().view(torch.uint8).int()
    return torch.stack((table[code & 15], table[code >> 4]), dim=-1).reshape(data.shape[0], -1)


def product(a, scale_a, b, scale_b, d, c, recipe, recipe_a, recipe_b, disable_ue8m0_cast):
    """A native module that computes: k-major operands only, natural FP32 scales, recipes (1, g) of 32."""
    for name, data in (("a", a), ("b", b)):
        if data.shape[-1] > 1 and data.stride(-1) != 1:
            raise bad_argument(f"{name}.strides", data.stride(), "a last stride of 1 (k-major)")
    left, right = (
        values_of(data) * scale.repeat_interleave(32, dim=1)[:, : values_of(data).shape[1]]
        for data, scale in ((a, scale_a), (b, scale_b))
    )
    if left.shape[1] != right.shape[1]:
        raise bad_argument("b.shape", tuple(b.shape), "a's k")
    if tuple(d.shape) != (left.shape[0], right.shape[0]):
        raise bad_argument("d.shape", tuple(d.shape), "[m, n]")
    d.copy_(left @ right.T + (0 if c is None else c))
    return True


def operand(rows, k, fp4, seed):
    """A pair, and the values that it stands for."""
    random = torch.Generator().manual_seed(seed)
    scale = 2.0 ** torch.randint(-3, 4, (rows, -(-k // 32)), generator=random).float()
    if fp4:
        data = torch.randint(0, 256, (rows, k // 2), generator=random).to(torch.uint8).view(torch.int8)
    else:
        data = torch.randint(-8, 9, (rows, k), generator=random).float().to(torch.float8_e4m3fn)
    return (data, scale), values_of(data) * scale.repeat_interleave(32, dim=1)[:, :k]


def transposed(pair):
    """The pair as callers of n and t forms hold it: contiguous in the other order."""
    data, scale = pair
    if data.dtype == torch.int8:
        nibbles = torch.stack((data.view(torch.uint8) & 15, data.view(torch.uint8) >> 4), dim=-1).reshape(
            data.shape[0], -1
        )
        turned = nibbles.T.contiguous()
        return (turned[:, 0::2] | turned[:, 1::2] << 4).view(torch.int8).contiguous(), scale.T.contiguous()
    return data.T.contiguous(), scale.T.contiguous()


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("a_fp4", "b_fp4"), [(False, False), (False, True), (True, False), (True, True)])
@pytest.mark.parametrize("with_c", [False, True])
def test_every_form_gives_the_same_product(native, form, a_fp4, b_fp4, with_c):
    """Without another DeepGEMM, operands in the other order are copied."""
    native.answers["fp8_fp4_gemm_nt"] = product
    a, left = operand(6, 96, a_fp4, 1)
    b, right = operand(10, 96, b_fp4, 2)
    c = torch.arange(60.0).reshape(6, 10) if with_c else None
    expected = left @ right.T + (0 if c is None else c)
    d = torch.full((6, 10), float("nan"))
    given_a = transposed(a) if form[0] == "t" else a
    given_b = transposed(b) if form[1] == "n" else b
    before = [each.clone() for each in (*given_a, *given_b)]
    getattr(deep_gemm, f"fp8_fp4_gemm_{form}")(given_a, given_b, d, c, recipe_a=(1, 32), recipe_b=(1, 32))
    assert torch.equal(d, expected)
    for now, then in zip((*given_a, *given_b), before, strict=True):
        assert torch.equal(now.view(torch.uint8), then.view(torch.uint8))


@pytest.mark.parametrize("fp4", [False, True])
def test_nt_with_an_operand_in_the_other_order(native, fp4):
    native.answers["fp8_fp4_gemm_nt"] = product
    a, left = operand(4, 64, False, 3)
    b, right = operand(8, 64, fp4, 4)
    data, scale = transposed(b)
    d = torch.empty(4, 8)
    deep_gemm.fp8_gemm_nt(a, (data.mT, scale.mT), d, recipe_a=(1, 32), recipe_b=(1, 32))
    assert torch.equal(d, left @ right.T)
    assert len(native.calls) == 2  # refused, copied


def test_a_copy_does_not_hide_another_mistake(native):
    native.answers["fp8_fp4_gemm_nt"] = product
    a, _ = operand(4, 64, False, 3)
    b, _ = operand(8, 96, False, 4)
    with pytest.raises(BadArgumentError) as caught:
        deep_gemm.fp8_gemm_nn(a, transposed(b), torch.empty(4, 8))
    assert caught.value.argument == "b.shape"


def test_the_native_module_gets_views_and_options(native):
    a, b, d = (torch.zeros(4, 8), torch.ones(4, 1)), (torch.zeros(8, 6), torch.ones(1, 6)), torch.empty(4, 6)
    deep_gemm.fp8_fp4_gemm_nn(a, b, d, d, (1, 128, 128), None, None, "n", True)
    ((name, given),) = native.calls
    assert name == "fp8_fp4_gemm_nt"
    assert given[0] is a[0] and given[1] is a[1]
    assert given[2].shape == (6, 8) and given[2].data_ptr() == b[0].data_ptr() and given[3].shape == (6, 1)
    assert given[4] is d and given[5] is d and given[6:] == ((1, 128, 128), None, None, True)


def test_lists_are_pairs_too(native):
    deep_gemm.fp8_gemm_nt([1, 2], [3, 4], 5)
    assert native.calls == [("fp8_fp4_gemm_nt", (1, 2, 3, 4, 5, None, None, None, None, False))]


@pytest.mark.parametrize("form", FORMS)
def test_a_device_that_is_not_deepwells_goes_on(native, other, form):
    other()
    native.answers["fp8_fp4_gemm_nt"] = False
    a, b, d = (torch.zeros(8, 8), torch.ones(8, 1)), (torch.zeros(8, 8), torch.ones(8, 1)), torch.empty(8, 8)
    c = torch.zeros(8, 8)
    getattr(deep_gemm, f"fp8_fp4_gemm_{form}")(
        a, b, d, c=c, recipe_a=(1, 128), recipe_b=(1, 32), disable_ue8m0_cast=True
    )
    ((name, given),) = _other.other().CALLS
    assert name == f"fp8_fp4_gemm_{form}"
    assert given["a"] is a and given["b"] is b and given["d"] is d and given["c"] is c
    assert (
        given["recipe_a"] == (1, 128) and given["recipe_b"] == (1, 32) and given["disable_ue8m0_cast"] is True
    )
    assert given["compiled_dims"] == ("nk" if form[0] == "n" else "mn")


def test_an_older_other_is_given_no_newer_names(native, other):
    """nv_dev's function knows neither alpha nor epilogue; one from before 2.5 is called fp8_gemm_nt."""
    other("2.5.0", init="fp8_gemm_nt = fp8_fp4_gemm_nt\ndel fp8_fp4_gemm_nt\n")
    native.answers["fp8_fp4_gemm_nt"] = False
    deep_gemm.fp8_fp4_gemm_nt((1, 2), (3, 4), 5, compiled_dims="k")
    ((_, given),) = _other.other().CALLS
    assert given["compiled_dims"] == "k"


def test_an_unserved_form_goes_on_and_else_the_error_stands(native, other):
    refusal = UnsupportedError("k of 7", "k", "7", "a multiple of 32")
    native.answers["fp8_fp4_gemm_nt"] = refusal
    a, b, d = (torch.zeros(4, 8), torch.ones(4, 1)), (torch.zeros(6, 8), torch.ones(6, 1)), torch.empty(4, 6)
    with pytest.raises(UnsupportedError) as caught:
        deep_gemm.fp8_gemm_nt(a, b, d)
    assert caught.value is refusal
    other()
    _other._forget()
    deep_gemm.fp8_gemm_nt(a, b, d)
    assert [name for name, _ in _other.other().CALLS] == ["fp8_fp4_gemm_nt"]


def test_an_operand_in_the_other_order_goes_to_the_other_first(native, other):
    other()
    native.answers["fp8_fp4_gemm_nt"] = product
    a, _ = operand(4, 64, False, 3)
    b, _ = operand(8, 64, False, 4)
    given_b = transposed(b)
    deep_gemm.fp8_gemm_nn(a, given_b, torch.empty(4, 8))
    ((name, given),) = _other.other().CALLS
    assert name == "fp8_fp4_gemm_nn" and given["b"] is given_b
    assert len(native.calls) == 1


def test_an_other_that_cannot_take_an_emulated_devices_tensors(native, other):
    """Tensors on the CPU: its error does not hide Deepwell's, nor the copy that serves the call."""

    def fails(**given):
        raise RuntimeError("no CPU kernels")

    other()
    for name in ("fp8_fp4_gemm_nt", "fp8_fp4_gemm_nn", "fp8_einsum"):
        _other.other().ANSWERS[name] = fails
    native.answers["fp8_fp4_gemm_nt"] = product
    a, left = operand(4, 64, False, 3)
    b, right = operand(8, 64, False, 4)
    d = torch.empty(4, 8)
    deep_gemm.fp8_gemm_nn(a, transposed(b), d)
    assert torch.equal(d, left @ right.T)
    refusal = UnsupportedError("not this form")
    native.answers["fp8_fp4_gemm_nt"] = native.answers["fp8_einsum"] = refusal
    for call in (
        lambda: deep_gemm.fp8_gemm_nt(a, b, d),
        lambda: deep_gemm.fp8_einsum("bhd,hdr->bhr", a, b, d),
    ):
        with pytest.raises(UnsupportedError) as caught:
            call()
        assert caught.value is refusal
    on_gpu = type("OnGpu", (), {"dim": lambda self: 3, "device": torch.device("cuda")})()
    for call in (
        lambda: deep_gemm.fp8_gemm_nt((on_gpu, 1), (on_gpu, 1), d),
        lambda: deep_gemm.fp8_einsum("bhd,hdr->bhr", (on_gpu, 1), (on_gpu, 1), d),
    ):
        with pytest.raises(RuntimeError, match="no CPU kernels"):
            call()


@pytest.mark.parametrize(
    "data", [torch.zeros(8, 4).T, torch.zeros(3, 4, 8).mT, torch.zeros(()), torch.zeros(5, dtype=torch.int8)]
)
def test_what_cannot_be_put_into_order_is_said_by_the_native_module(native, data):
    error = bad_argument("a", tuple(data.shape), "something else")
    native.answers["fp8_fp4_gemm_nt"] = error
    with pytest.raises(BadArgumentError) as caught:
        deep_gemm.fp8_gemm_nt((data, torch.ones(4, 1)), (data, torch.ones(4, 1)), torch.empty(4, 4))
    assert caught.value is error


def test_mistakes_and_failures_are_not_forwarded(native, other):
    other()
    a, b, d = (torch.zeros(4, 8), torch.ones(4, 1)), (torch.zeros(6, 8), torch.ones(6, 1)), torch.empty(4, 6)
    for error in (bad_argument("d.shape", 1, "2"), DeviceError("lost")):
        native.answers["fp8_fp4_gemm_nt"] = error
        with pytest.raises(type(error)) as caught:
            deep_gemm.fp8_gemm_nt(a, b, d)
        assert caught.value is error
        native.answers["fp8_einsum"] = error
        with pytest.raises(type(error)) as caught:
            deep_gemm.fp8_einsum("bhr,hdr->bhd", a, b, d)
        assert caught.value is error
    assert _other.loaded() is None


@pytest.mark.parametrize("form", FORMS)
def test_what_is_no_pair(native, form):
    function = getattr(deep_gemm, f"fp8_fp4_gemm_{form}")
    pair = (torch.zeros(4, 8), torch.ones(4, 1))
    for a, b, name in ((None, pair, "a"), (pair, 7, "b"), (pair, (pair[0],), "b")):
        with pytest.raises(BadTypeError) as caught:
            function(a, b, torch.empty(4, 4))
        assert caught.value.argument == name
        assert isinstance(caught.value, TypeError) and isinstance(caught.value, RuntimeError)
    with pytest.raises(BadTypeError):
        deep_gemm.fp8_einsum("bhr,hdr->bhd", pair, None, torch.empty(4, 4))


def test_a_wrong_type_is_said_as_the_native_module_says_it(native):
    error = bad_type("a", "int", "a tensor")
    native.answers["fp8_fp4_gemm_nt"] = error
    for function in (deep_gemm.fp8_gemm_nt, deep_gemm.fp8_gemm_nn):
        pair = (1, 2) if function is deep_gemm.fp8_gemm_nt else (torch.zeros(2, 2), torch.zeros(2, 2))
        with pytest.raises(BadTypeError) as caught:
            function(pair, pair, 5)
        assert caught.value is error


def test_alpha_and_quantised_output_are_forwarded(native, other):
    other()
    deep_gemm.fp8_gemm_nt((1, 2), (3, 4), 5, alpha=2.0)
    deep_gemm.fp8_einsum("bhr,hdr->bhd", (1, 2), (3, 4), (5, 6), use_128x4_sfd_layout=True)
    assert native.calls == []
    gemm, einsum = _other.other().CALLS
    assert gemm[1]["alpha"] == 2.0
    assert einsum[1]["d"] == (5, 6) and einsum[1]["use_128x4_sfd_layout"] is True
    assert einsum[1]["recipe"] == (1, 128, 128)


def test_alpha_without_another(native):
    with pytest.raises(MissingError):
        deep_gemm.fp8_gemm_nt((1, 2), (3, 4), 5, alpha=2.0)
    assert native.calls == []


def test_einsum_reaches_the_native_module_or_goes_on(native, other):
    deep_gemm.fp8_einsum("bhr,hdr->bhd", (1, 2), (3, 4), 5, recipe=(1, 1, 128))
    assert native.calls == [("fp8_einsum", ("bhr,hdr->bhd", 1, 2, 3, 4, 5, None, (1, 1, 128)))]
    other()
    _other._forget()
    native.answers["fp8_einsum"] = UnsupportedError("not this expression")
    deep_gemm.fp8_einsum("bhd,hdr->bhr", (1, 2), (3, 4), 5, 6)
    native.answers["fp8_einsum"] = False
    deep_gemm.fp8_einsum("bhr,hdr->bhd", (1, 2), (3, 4), 5)
    first, second = _other.other().CALLS
    assert first[1]["expr"] == "bhd,hdr->bhr" and first[1]["c"] == 6 and first[1]["a"] == (1, 2)
    assert second[1]["c"] is None


def test_without_a_compiler_the_other_one_serves(native, other):
    """NVRTC is missing here, and the other one brings its own way to compile."""
    failed = ToolchainError("no NVRTC", "nvrtc", "none", "12.8 or newer")
    for name in ("fp8_fp4_gemm_nt", "fp8_einsum", "transform_scale"):
        native.answers[name] = failed
    calls = (
        lambda: deep_gemm.fp8_gemm_nt((1, 2), (3, 4), 5),
        lambda: deep_gemm.fp8_einsum("bhr,hdr->bhd", (1, 2), (3, 4), 5),
        lambda: deep_gemm.transform_sf_into_required_layout(1, 2, 3, (1, 128)),
    )
    for call in calls:
        with pytest.raises(ToolchainError) as caught:
            call()
        assert caught.value is failed
    other()
    _other._forget()
    for call in calls:
        call()
    assert len(_other.other().CALLS) == 3


def test_an_other_that_does_not_load_counts_as_none(native, other):
    """The native module leaves SM 9.0 to the other one while there is one; when that fails it is asked
    again.
    """
    other(fails="ImportError('no')")
    answers = []

    def serve_if_alone(*arguments):
        answers.append(not _other.other_exists())
        return answers[-1]

    native.answers["fp8_fp4_gemm_nt"] = native.answers["fp8_einsum"] = serve_if_alone
    deep_gemm.fp8_gemm_nt((1, 2), (3, 4), 5)
    assert answers == [False, True]
    deep_gemm.fp8_einsum("bhr,hdr->bhd", (1, 2), (3, 4), 5)
    assert answers == [False, True, True]


def test_without_a_native_module_everything_goes_on(other, run_python, tmp_path):
    """A native module that does not load is warned of once, kept in errors, and stops nothing that the other
    serves.
    """
    import fakes

    fakes.write_other(tmp_path / "site")
    code = (
        "import sys, logging, types\n"
        "logging.basicConfig(stream=sys.stdout, format='%(levelname)s %(message)s')\n"
        "class Broken:\n"
        "    @staticmethod\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name == 'deepwell._runtime': raise OSError('libfoo.so is missing')\n"
        "sys.meta_path.insert(0, Broken)\n"
        "import deepwell, deep_gemm\n"
        "from deepwell import _other\n"
        "for _ in range(2):\n"
        "    try: deep_gemm.fp8_gemm_nt((1, 2), (3, 4), 5)\n"
        "    except RuntimeError as error: print(type(error).__name__, error)\n"
        "print(len(_other.other().CALLS) if _other.other() else None)\n"
    )
    out = run_python(code, path=[tmp_path / "site"])
    assert out.count("libfoo.so is missing") == 1 and out.endswith("2")
    out = run_python(code)
    assert out.count("MissingError") == 2 and out.count("libfoo.so is missing") == 3


def test_the_native_module_is_loaded_at_the_first_call(run_python):
    code = (
        "import sys, types, deepwell, deep_gemm\n"
        "fake = types.ModuleType('deepwell._runtime')\n"
        "calls = []\n"
        "fake.fp8_fp4_gemm_nt = lambda *given: calls.append(('gemm', len(given))) or True\n"
        "fake.fp8_einsum = lambda *given: calls.append(('einsum', len(given))) or True\n"
        "fake.set_pdl = lambda on: calls.append(('pdl', on))\n"
        "sys.modules['deepwell._runtime'] = fake\n"
        "deep_gemm.set_pdl(True)\n"
        "assert not calls and deep_gemm._forward.loaded_runtime() is None\n"
        "for _ in range(2):\n"
        "    deep_gemm.fp8_gemm_nt((1, 2), (3, 4), 5)\n"
        "    deep_gemm.fp8_einsum('bhr,hdr->bhd', (1, 2), (3, 4), 5)\n"
        "assert sys.modules['deep_gemm.gemm']._native is fake.fp8_fp4_gemm_nt\n"
        "assert sys.modules['deep_gemm.einsum']._native is fake.fp8_einsum\n"
        "print(calls, 'torch' in sys.modules)\n"
    )
    out = run_python(code)
    assert out == "[('pdl', True), ('gemm', 10), ('einsum', 8), ('gemm', 10), ('einsum', 8)] False"
