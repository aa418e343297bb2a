"""docs/launch.schema.json says what the reader of launch files takes: the same documents are right, and the same mistakes are refused."""

import copy
import json
import pathlib

import pytest

from deepwell import _native, errors

ROOT = pathlib.Path(__file__).parents[2]
PTX = ".version 8.7\n.target sm_120a\n.address_size 64\n.visible .entry k(.param .u64 p, .param .align 64 .b8 m[128]) {\n  ret;\n}\n"

RIGHT = {
    "$schema": "x",
    "comment": "every member",
    "target": "sm_120a:4",
    "modules": {"k": {"text": PTX}},
    "buffers": {
        "a": {"dtype": "f32", "shape": [4, 4], "fill": {"uniform": [0, 1]}, "seed": 3},
        "b": {
            "dtype": "e2m1",
            "shape": [32],
            "fill": {"integers": [-6, 6]},
            "expect": {"fill": "zero", "absolute": 7},
        },
        "c": {
            "dtype": "u8",
            "shape": [3],
            "values": [1, "0xff", 3],
            "expect": {"values": [1, 255, 3], "relative": 0},
        },
        "d": {
            "dtype": "float16",
            "shape": [2],
            "fill": {"constant": "nan"},
            "address": "0x700100000",
        },
        "e": {
            "dtype": "u64",
            "shape": [20],
            "struct": [{"at": 0, "buffer": "a"}, {"at": 32, "tensor_map": "m"}],
        },
        "f": {"dtype": "bf16", "shape": [], "fill": {"normal": [0, 1]}},
    },
    "tensor_maps": {
        "m": {
            "tensorDataType": "FLOAT32",
            "tensorRank": 2,
            "globalAddress": {"buffer": "a", "offset": 0},
            "globalDim": [4, 4],
            "globalStrides": [16],
            "boxDim": [4, 2],
            "elementStrides": [1, 1],
            "interleave": "CU_TENSOR_MAP_INTERLEAVE_NONE",
            "swizzle": "NONE",
            "l2Promotion": "L2_128B",
            "oobFill": "NONE",
        }
    },
    "launches": [
        {"block": 32, "params": [{"buffer": "a", "offset": -16}, {"tensor_map": "m"}]},
        {
            "module": "k",
            "kernel": "k",
            "grid": [2, 2],
            "block": [8, 4, 1],
            "cluster": 2,
            "dynamic_shared_bytes": 64,
            "cooperative": True,
            "programmatic": True,
            "stream": 1,
            "after": [0],
            "params": [
                {"at": 64, "struct": [{"at": 4, "f32": "inf"}, {"at": 8, "bytes": "00 ff"}], "size": 128},
                {"at": 0, "u64": 5},
            ],
        },
    ],
    "options": {
        "check": True,
        "race": False,
        "seed": 1,
        "seeds": 2,
        "every_seed": True,
        "max_steps": 1000,
        "max_total_steps": 0,
        "statistics": True,
        "threads": 1,
        "data_seed": 4,
        "memory_bytes": 1048576,
    },
}

# (path in RIGHT, what is put there); a value of None takes the member away.
WRONG = [
    ("other", 1),
    ("launches", []),
    ("launches", None),
    ("modules.k", {}),
    ("modules.k.file", "k.ptx"),
    ("buffers.a.dtype", "f31"),
    ("buffers.a.shape", [-1]),
    ("buffers.a.values", [0]),
    ("buffers.a.fill", {"uniform": [0]}),
    ("buffers.a.fill", {"uniform": [0, 1], "normal": [0, 1]}),
    ("buffers.a.fill", "nothing"),
    ("buffers.a.other", 1),
    ("buffers.a.address", "0x0"),
    ("buffers.a.address", "700000000"),
    ("buffers.a.address", 4096),
    ("buffers.b.expect.values", [0] * 32),
    ("buffers.b.expect.absolute", -1),
    ("buffers.c.values", ["0x"]),
    ("tensor_maps.m.swizzle", "SOME"),
    ("tensor_maps.m.boxDim", [257, 1]),
    ("tensor_maps.m.boxDim", None),
    ("tensor_maps.m.tensorDataType", "FLOAT"),
    ("launches.0.block", None),
    ("launches.0.block", [1, 1, 1, 1]),
    ("launches.0.grid", 0),
    ("launches.0.params", [{"buffer": "a", "u32": 1}, {"tensor_map": "m"}]),
    ("launches.0.params", [{"f31": 1}, {"tensor_map": "m"}]),
    ("launches.0.params", [{"u64": 1, "offset": 1}, {"tensor_map": "m"}]),
    ("launches.1.params.0.size", None),
    ("launches.1.params.0.size", 0),
    ("launches.1.stream", -1),
    ("options.seeds", 0),
    ("options.seeds", "3"),
    ("options.check", 1),
    ("options.trace", {"cta": [0, 0, 0]}),
]


def reader_refuses(document):
    try:
        _native.run_launches(json.dumps(document), None, [])
    except errors.BadArgumentError:
        return True
    return False


@pytest.fixture(scope="module")
def validator():
    import jsonschema

    schema = json.loads((ROOT / "docs" / "launch.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_what_is_right_is_right_for_both(validator):
    assert list(validator.iter_errors(RIGHT)) == []
    assert not reader_refuses(RIGHT)
    for example in sorted((ROOT / "examples" / "emulate").glob("*.json")):
        assert list(validator.iter_errors(json.loads(example.read_text()))) == [], example


@pytest.mark.parametrize(("path", "value"), WRONG, ids=lambda one: str(one)[:40])
def test_a_mistake_is_one_for_both(validator, path, value):
    document = copy.deepcopy(RIGHT)
    *way, last = path.split(".")
    place = document
    for part in way:
        place = place[int(part) if isinstance(place, list) else part]
    if value is None:
        del place[last]
    else:
        place[last] = value
    assert reader_refuses(document)
    assert not validator.is_valid(document)
