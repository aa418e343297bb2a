"""Settings: kept, checked, passed on. Scale layouts: which module answers, with which arguments."""

import deep_gemm
import pytest
import torch
from deepwell import _other
from deepwell.errors import BadArgumentError, BadTypeError, DeviceError, MissingError, UnsupportedError

SETTINGS = {
    "set_num_sms": 100,
    "set_tc_util": 50,
    "set_pdl": True,
    "set_ignore_compile_dims": True,
    "set_block_size_multiple_of": (16, 32),
    "use_deterministic_algorithms": True,
    "set_mk_alignment_for_contiguous_layout": 64,
}


def noted():
    """Setter -> last value, of the other DeepGEMM."""
    return {name: next(iter(given.values())) for name, given in _other.other().CALLS if given}


def test_defaults(native):
    assert deep_gemm.get_num_sms() == 188
    assert deep_gemm.get_tc_util() == 100
    assert deep_gemm.get_pdl() is False
    assert deep_gemm.get_mk_alignment_for_contiguous_layout() == 128


def test_what_is_set_is_kept(native):
    for setter, value in SETTINGS.items():
        assert getattr(deep_gemm, setter)(value) is None
    assert deep_gemm.get_num_sms() == 100
    assert deep_gemm.get_tc_util() == 50
    assert deep_gemm.get_pdl() is True and ("set_pdl", (True,)) in native.calls
    assert deep_gemm.get_mk_alignment_for_contiguous_layout() == 64
    assert deep_gemm.get_m_alignment_for_contiguous_layout() == 64
    deep_gemm.set_num_sms(0)
    assert deep_gemm.get_num_sms() == 188
    deep_gemm.set_tc_util(0)
    assert deep_gemm.get_tc_util() == 100
    deep_gemm.set_block_size_multiple_of(16)


@pytest.mark.parametrize(
    ("setter", "value", "kind"),
    [
        ("set_num_sms", -1, BadArgumentError),
        ("set_num_sms", 189, BadArgumentError),
        ("set_num_sms", 1.5, BadTypeError),
        ("set_num_sms", True, BadTypeError),
        ("set_tc_util", 101, BadArgumentError),
        ("set_tc_util", -1, BadArgumentError),
        ("set_mk_alignment_for_contiguous_layout", 0, BadArgumentError),
        ("set_mk_alignment_for_contiguous_layout", "128", BadTypeError),
        ("set_block_size_multiple_of", (1, 2, 3), BadArgumentError),
        ("set_block_size_multiple_of", (1.0,), BadTypeError),
    ],
)
def test_what_cannot_be_set(native, other, setter, value, kind):
    other()
    assert _other.other() is not None
    with pytest.raises(kind):
        getattr(deep_gemm, setter)(value)
    assert noted() == {}
    assert deep_gemm.settings._given == {}


def test_settings_are_passed_on_when_the_other_is_loaded_and_after(native, other):
    other()
    for setter, value in SETTINGS.items():
        getattr(deep_gemm, setter)(value)
    assert _other.loaded() is None  # setting loads nothing
    assert noted() == SETTINGS
    deep_gemm.set_num_sms(10)
    deep_gemm.set_pdl(False)
    assert noted() == {**SETTINGS, "set_num_sms": 10, "set_pdl": False}
    deep_gemm.set_num_sms(0)
    assert noted()["set_num_sms"] == 188  # 2.8 has no 0


def test_only_what_was_set_is_passed_on(native, other):
    other()
    deep_gemm.set_pdl(True)
    assert noted() == {"set_pdl": True}


def test_an_older_other_has_fewer_settings(native, other):
    other("2.5.0")
    deep_gemm.use_deterministic_algorithms(True)
    deep_gemm.set_pdl(True)
    assert noted() == {"set_pdl": True}


def test_a_setting_that_the_other_refuses(native, other, caplog):
    other(init="def set_num_sms(value):\n    raise RuntimeError('odd')\n")
    deep_gemm.set_num_sms(7)
    deep_gemm.set_pdl(True)
    assert _other.other() is not None  # loading goes on
    assert any("odd" in record.getMessage() for record in caplog.records)
    assert "set_pdl" in dict(_other.other().CALLS)  # what comes after the refused one still arrives
    with pytest.raises(RuntimeError, match="odd"):
        deep_gemm.set_num_sms(9)
    assert deep_gemm.get_num_sms() == 7


def test_shutdown(native, other):
    other()
    deep_gemm.shutdown()
    assert _other.loaded() is None
    theirs = _other.other()
    deep_gemm.shutdown()
    assert [name for name, _ in theirs.CALLS] == ["shutdown"]


# --- theoretical alignment ----------------------------------------------------------------------------------


@pytest.mark.parametrize("version", ["2.5.0", "2.6.1", "2.8.1"])
@pytest.mark.parametrize(
    ("given", "rows"),
    [
        ((), None),
        ((48,), 48),
        ((48, 256), 1),
        ((24576, 256), 96),
        ((100, 3), 34),
        ((None, 4), None),
        ((0, 4), 0),
    ],
)
def test_the_others_answer_is_for_the_rows_of_one_expert(native, other, version, given, rows):
    other(version)
    native.major = 10
    _other.other().ANSWERS["get_theoretical_mk_alignment_for_contiguous_layout"] = lambda **k: (
        "theirs",
        k["expected_m"],
    )
    assert deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout(*given) == ("theirs", rows)


@pytest.mark.parametrize(
    ("major", "rows", "expected"),
    [
        (8, 8, 128),
        (10, 8, 256),
        (10, None, 256),
    ],
)
def test_without_another_its_rules_hold(native, major, rows, expected):
    native.major = major
    assert deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout(rows) == expected
    assert (
        deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout(
            expected_m=rows and rows * 4, num_groups=4
        )
        == expected
    )


def test_without_a_device(native):
    native.major = RuntimeError("no device")
    assert deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout(8, 4) == 128


def test_an_other_that_sees_no_gpu_beside_an_emulated_device(native, other, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    other()

    def fails(expected_m):
        raise RuntimeError("no CUDA-capable device")

    _other.other().ANSWERS["get_theoretical_mk_alignment_for_contiguous_layout"] = fails
    native.major = 10
    assert deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout(48, 256) == 256


@pytest.mark.parametrize(
    ("given", "asked"),
    [((), None), ((48, 256), 1), ((0,), 0), ((24576, 256), 96), ((5000,), 5000)],
)
@pytest.mark.parametrize("major", [9, 12])
def test_deepwells_own_rule(native, given, asked, major):
    """The library answers, for the rows of one expert; without a number the alignment at rest does."""
    native.major = major
    native.answers["grouped_gemm_alignment"] = lambda rows, groups: ("ours", rows, groups)
    got = deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout(*given)
    assert got == (128 if asked is None else ("ours", asked, 1))


def test_deepwells_rule_in_numbers(clean, monkeypatch):
    monkeypatch.setenv("DEEPWELL_DEVICE", "emu:sm_120a")
    query = deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout
    assert [query(tokens * 6, 256) for tokens in (1, 8, 64, 400, 1000, 4096)] == [8, 8, 8, 32, 64, 128]
    assert query(8) == 16 and query() == 128


def test_deepwells_own_rule_holds_on_deepwells_devices(native, other, monkeypatch):
    other()
    _other.other().ANSWERS["get_theoretical_mk_alignment_for_contiguous_layout"] = 240
    query = deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout
    native.major = 10
    assert query(16) == 240
    native.major = 9
    assert query(16) == 240
    monkeypatch.setenv("DEEPWELL_DEEP_GEMM", "always")
    assert query(16) == 16


@pytest.mark.parametrize("given", [("48",), (48, 0), (48, -1), (48, 1.5), (True,)])
def test_what_cannot_be_asked(native, given):
    with pytest.raises(BadArgumentError):
        deep_gemm.get_theoretical_mk_alignment_for_contiguous_layout(*given)


# --- scale layouts ------------------------------------------------------------------------------------------


def test_transform_takes_both_recipes(native):
    transform = deep_gemm.transform_sf_into_required_layout
    assert (
        transform(sf="s", mn=1536, k=4096, recipe=(1, 128, 128), num_groups=1, is_sfa=False) == "transformed"
    )
    transform("s", 8, 256, (1, 128, 32), None, True, True)
    transform("s", 8, 256, (1, 32), 4)
    transform("s", 8, 256, [128, 128])
    assert [given for _, given in native.calls] == [
        ("s", 1536, 4096, 128, 128, 1, False),
        ("s", 8, 256, 1, 32, None, True),
        ("s", 8, 256, 1, 32, 4, False),
        ("s", 8, 256, 128, 128, None, False),
    ]


@pytest.mark.parametrize(
    ("recipe", "is_sfa", "argument"),
    [
        ((1, 128, 128), None, "is_sfa"),
        ((1, 128), True, "is_sfa"),
        ((1, 128), False, "is_sfa"),
        ((1,), None, "recipe"),
        (128, None, "recipe"),
    ],
)
def test_transform_refuses_other_recipes(native, recipe, is_sfa, argument):
    with pytest.raises(BadArgumentError) as caught:
        deep_gemm.transform_sf_into_required_layout("s", 8, 256, recipe, is_sfa=is_sfa)
    assert caught.value.argument == argument


LAYOUTS = [
    ("transform_scale", "transform_sf_into_required_layout", ("s", 8, 256, (1, 128))),
    ("mn_major_scale", "get_mn_major_tma_aligned_tensor", ("s",)),
    ("packed_scale", "get_mn_major_tma_aligned_packed_ue8m0_tensor", ("s",)),
]


@pytest.mark.parametrize(("native_name", "name", "given"), LAYOUTS)
def test_layouts_are_served_or_go_on(native, other, native_name, name, given):
    function = getattr(deep_gemm, name)
    assert isinstance(function(*given), str)
    native.answers[native_name] = None
    with pytest.raises(MissingError):
        function(*given)
    refusal = UnsupportedError("not this")
    native.answers[native_name] = refusal
    with pytest.raises(UnsupportedError) as caught:
        function(*given)
    assert caught.value is refusal
    other()
    _other._forget()
    _other.other().ANSWERS[name] = "theirs"
    assert function(*given) == "theirs"
    native.answers[native_name] = None
    assert function(*given) == "theirs"
    native.answers[native_name] = BadArgumentError("wrong shape")
    with pytest.raises(BadArgumentError):
        function(*given)


def test_an_other_that_cannot_take_an_emulated_devices_scales(native, other):
    other()

    def fails(**given):
        raise RuntimeError("no CPU kernels")

    _other.other().ANSWERS["get_mn_major_tma_aligned_tensor"] = fails
    refusal = native.answers["mn_major_scale"] = UnsupportedError("not this")
    with pytest.raises(UnsupportedError) as caught:
        deep_gemm.get_mn_major_tma_aligned_tensor(torch.ones(4, 1))
    assert caught.value is refusal
    with pytest.raises(RuntimeError, match="no CPU kernels"):
        deep_gemm.get_mn_major_tma_aligned_tensor("a tensor of a GPU")


def test_transform_is_forwarded_with_what_was_given(native, other):
    other()
    native.answers["transform_scale"] = None
    deep_gemm.transform_sf_into_required_layout("s", 8, 256, (1, 128, 128), 4, False, True, "psum")
    ((_, given),) = _other.other().CALLS
    assert given == {
        "sf": "s",
        "mn": 8,
        "k": 256,
        "recipe": (1, 128, 128),
        "num_groups": 4,
        "is_sfa": False,
        "disable_ue8m0_cast": True,
        "psum_layout": "psum",
    }


def test_psum_layouts_go_to_the_other(native, other):
    other()
    deep_gemm.transform_sf_into_required_layout("s", 8, 256, (1, 128), psum_layout="psum")
    deep_gemm.get_mn_major_tma_aligned_packed_ue8m0_tensor("s", "psum")
    assert native.calls == []
    assert all(given["psum_layout"] == "psum" for _, given in _other.other().CALLS)


def test_tma_aligned_size(native):
    size = deep_gemm.get_tma_aligned_size
    for x in range(70):
        for element_size in (1, 2, 4, 8, 16):
            step = 16 // element_size
            assert size(x, element_size) == (x + step - 1) // step * step
    assert size(x=5, element_size=4) == 8
    for wrong in (0, 3, 5, 32, -4, 4.0):
        with pytest.raises(BadArgumentError):
            size(5, wrong)


def test_without_a_native_module_the_gpu_is_asked(clean, monkeypatch):
    """get_num_sms and get_arch_major do not need Deepwell's native module."""
    fallback = deep_gemm._forward.NoRuntime("not there")
    monkeypatch.setattr(deep_gemm._forward, "_runtime", fallback)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(
        torch.cuda, "get_device_properties", lambda _: type("P", (), {"multi_processor_count": 132})
    )
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    assert deep_gemm.get_num_sms() == 132
    assert deep_gemm.testing.get_arch_major() == 9


def test_without_a_native_module_and_without_a_gpu(clean, monkeypatch):
    monkeypatch.setattr(deep_gemm._forward, "_runtime", deep_gemm._forward.NoRuntime("libfoo is missing"))
    monkeypatch.setattr(torch.cuda, "current_device", _no_gpu)
    monkeypatch.setattr(torch.cuda, "get_device_capability", _no_gpu)
    for question in (deep_gemm.get_num_sms, deep_gemm.testing.get_arch_major):
        with pytest.raises(DeviceError, match="libfoo is missing"):
            question()


def _no_gpu():
    raise AssertionError("Torch not compiled with CUDA enabled")
