"""Any PTX on the CPU, every access checked: deepwell.emulate() for one launch, deepwell.Emulator for lists of launches.

Needs NumPy, no torch and no GPU. Elements that NumPy has no type for (bf16, e4m3, e2m1, ...) are unsigned integers with their bits, or
ml_dtypes' arrays; two e2m1 lie in a byte, the even one in the low half.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import errors

if TYPE_CHECKING:
    import numpy

    Extent = int | Sequence[int]

# Element types by the names of NumPy's and ml_dtypes' types.
_TYPES = {
    "uint8": "u8",
    "int8": "s8",
    "uint16": "u16",
    "int16": "s16",
    "uint32": "u32",
    "int32": "s32",
    "uint64": "u64",
    "int64": "s64",
    "float16": "f16",
    "float32": "f32",
    "float64": "f64",
    "bool": "u8",
    "bfloat16": "bf16",
    "float8_e4m3fn": "e4m3",
    "float8_e5m2": "e5m2",
    "float8_e8m0fnu": "ue8m0",
}
# Element types by name: the NumPy type that holds them, and elements in one of it.
_HOLDS = {name: (numpy_name, 1) for numpy_name, name in list(_TYPES.items())[:11]}
_HOLDS |= {"bf16": ("uint16", 1), "tf32": ("float32", 1)}
_HOLDS |= {name: ("uint8", 1) for name in ("e4m3", "e5m2", "e3m2", "e2m3", "ue8m0", "ue4m3")}
_HOLDS |= {name: ("uint8", 2) for name in ("e2m1", "u4", "s4")}
# Where buffers lie: from the first address of global memory on, with memory that is nobody's between them.
_FIRST_ADDRESS = 0x7_0000_0000
_BETWEEN = 64 * 1024


def _numpy() -> Any:
    try:
        import numpy
    except ImportError as error:
        raise errors.MissingError(
            "deepwell.emulate needs NumPy: pip install numpy", "numpy", str(error), "NumPy"
        ) from error
    return numpy


@dataclass(frozen=True)
class Finding:
    """What a checker found. `kind`: program, memory, poison, race, barrier, deadlock, copy, tensor-map, dependency or resource
    (docs/checkers.md). The place is None or empty where the finding has none; `line` counts the lines of the PTX text from 1."""

    kind: str
    message: str
    kernel: str
    seed: int
    cta: tuple[int, int, int] | None = None
    warp: int | None = None
    lane: int | None = None
    line: int | None = None
    instruction: str = ""
    source: str = ""

    def __str__(self) -> str:
        return self.message


@dataclass(frozen=True)
class Comparison:
    """How a buffer compares with what was expected, in elements. `undefined` ones were never written; `first` is the first that
    differs: its index, what is there and what was expected, as text."""

    ok: bool
    compared: int
    mismatches: int
    undefined: int
    worst_error: float
    worst_index: int
    first: dict[str, Any] | None = None


class Buffer:
    """Global memory of an Emulator. As a parameter it is its address; `buffer.at(n)` is the address n bytes into it.
    `buffer.address` is that address as a number: it is the same in every run, whatever buffers come later."""

    def __init__(
        self, name: str, dtype: str, array: numpy.ndarray, written: numpy.ndarray, address: int
    ) -> None:
        self.name = name
        self.address = address  #: in global memory, a multiple of 256
        self.dtype = dtype  #: element type: "f32", "bf16", "e4m3", ...
        self.array = array  #: contents, as they were given or as the last run left them
        self.written = written  #: for each byte 1 where it was ever written, else 0 (poison)

    def at(self, offset: int) -> Address:
        """The address `offset` bytes into the buffer; may lie outside of it, as pointers may."""
        return Address(self, int(offset))

    def __repr__(self) -> str:
        return f"<deepwell buffer {self.name}: {self.dtype} {list(self.array.shape)}>"


@dataclass(frozen=True)
class Address:
    """An address inside a buffer, or of one: a 64-bit parameter."""

    buffer: Buffer
    offset: int = 0


@dataclass(frozen=True)
class TensorMap:
    """A CUtensorMap parameter by value: 128 bytes."""

    name: str
    buffer: Buffer
    fields: dict[str, Any] = field(repr=False)


@dataclass(frozen=True)
class Struct:
    """A parameter of `size` bytes with members at byte offsets, the rest zero: Struct(24, {0: buffer, 8: numpy.uint32(3)})."""

    size: int
    members: Mapping[int, Any]


class Result:
    """What a run left: `ok`, `findings`, the buffers' arrays by name or Buffer (result["d"]), `launches`, `comparisons`.

    ok            no finding, and every comparison holds
    findings      list of Finding
    arrays        {name: array}, new arrays of the shape and type that was given
    written       {name: array of uint8 by byte, 0 where nothing was ever written}; all 1 in runs without checks
    args          deepwell.emulate() only: an array for each buffer among its args, None for the others
    launches      for each launch {"kernel": name, "statistics": counts or None}; counts are those of docs/emulator.md
    comparisons   {name: Comparison} for buffers with an `expect`
    printed       what the kernels printed
    seeds         how many seeds ran; `seconds`: in launches, on the host
    report        all of it as the JSON report of `deepwell emulate --json`
    """

    def __init__(self, report: dict[str, Any], buffers: Iterable[Buffer]) -> None:
        self.report = report
        self.ok: bool = report["ok"]
        self.findings = [_finding(one) for one in report["findings"]]
        self.launches: list[dict[str, Any]] = report["launches"]
        self.printed: str = report["printed"]
        self.seeds: int = report["seeds"]
        self.seconds: float = report["seconds"]
        self.arrays = {buffer.name: buffer.array for buffer in buffers}
        self.written = {buffer.name: buffer.written for buffer in buffers}
        self.args: list[Any] = []
        self.comparisons = {
            name: _comparison(one["expected"]) for name, one in report["buffers"].items() if "expected" in one
        }

    def __getitem__(self, buffer: str | Buffer) -> numpy.ndarray:
        return self.arrays[buffer.name if isinstance(buffer, Buffer) else buffer]

    def raise_findings(self) -> Result:
        """Raises DeviceError with the first finding, or with the first buffer that is not as expected; else returns itself."""
        for finding in self.findings:
            raise errors.DeviceError(finding.message, finding.kernel, finding.kind, "no finding")
        for name, one in self.comparisons.items():
            if not one.ok:
                first = one.first or {}
                text = (
                    f"{one.mismatches} of {one.compared} elements differ, the first at {first.get('index')}"
                )
                expected = f"{first.get('expected')}, got {first.get('got')}"
                raise errors.DeviceError(f"{name}: {text}: expected {expected}", name, text, expected)
        return self

    def __repr__(self) -> str:
        state = (
            "ok" if self.ok else "; ".join(one.message.splitlines()[0] for one in self.findings) or "differs"
        )
        return f"<deepwell result: {state}, {len(self.launches)} launches, {self.seeds} seeds>"


def _finding(one: dict[str, Any]) -> Finding:
    place = one["place"] or {}
    return Finding(
        kind=one["finding"],
        message=one["message"],
        kernel=one["kernel"],
        seed=one["seed"],
        cta=tuple(place["cta"]) if place else None,
        warp=place.get("warp"),
        lane=place.get("lane"),
        line=place.get("line"),
        instruction=place.get("instruction", ""),
        source=place.get("source", ""),
    )


def _comparison(one: dict[str, Any]) -> Comparison:
    names = ("ok", "compared", "mismatches", "undefined", "worst_index")
    return Comparison(
        worst_error=float(one["worst_error"]), first=one.get("first"), **{n: one[n] for n in names}
    )


def _extent(name: str, value: Extent) -> list[int]:
    try:
        return [int(value)] if not isinstance(value, Iterable) else [int(one) for one in value]
    except (TypeError, ValueError) as error:
        raise errors.bad_type(name, repr(value), "an int or up to three") from error


class Emulator:
    """Memory and launches of one emulated board.

    target: "sm_120a", "sm_121a", "sm_120f" or "sm_90a", with a number of SMs where it matters: "sm_120a:48".

      emulator = deepwell.Emulator("sm_120a")
      x = emulator.buffer(numpy.arange(64, dtype=numpy.float32), name="x")
      y = emulator.empty((64,), "f32", name="y")
      emulator.launch(open("kernel.ptx").read(), grid=1, block=64, args=[x, y, numpy.uint32(64)])
      result = emulator.run(seeds=4)
      result.ok, result.findings, result["y"]

    Buffers keep what the last run left, for launches of the next, and lie where they were made: in that order, each at its
    `address`, which tables of pointers may hold. Errors are those of deepwell.errors: BadArgumentError names the
    argument, its value and what was expected; UnsupportedError an instruction or target that is not modelled.
    """

    def __init__(self, target: str = "sm_120a") -> None:
        self.target = str(target)
        self._buffers: dict[str, Buffer] = {}
        self._next_address = _FIRST_ADDRESS
        self._maps: dict[str, TensorMap] = {}
        self._modules: dict[str, str] = {}  # text -> name
        self._launches: list[dict[str, Any]] = []

    # ---- Memory ----

    def _add(self, name: str | None, dtype: str, array: Any, written: Any) -> Buffer:
        name = f"buffer{len(self._buffers)}" if name is None else str(name)
        if name in self._buffers:
            raise errors.bad_argument("name", name, "a name that no buffer has yet")
        self._buffers[name] = buffer = Buffer(name, dtype, array, written, self._next_address)
        self._next_address += -(-(array.nbytes + _BETWEEN) // 256) * 256
        return buffer

    def buffer(self, array: Any, *, name: str | None = None, dtype: str | None = None) -> Buffer:
        """Global memory with the contents of a NumPy array of any shape; a copy. `dtype` names the element type where the array's
        does not ("bf16" for an array of uint16): it is for comparisons and reports, memory has the array's bytes."""
        numpy = _numpy()
        array = numpy.array(array, order="C", copy=True)
        own = _TYPES.get(array.dtype.name)
        if dtype is None and own is None:
            raise errors.bad_argument("array", f"elements of {array.dtype}", "a known type, or `dtype`")
        return self._add(
            name, _element_type(dtype or own, array), array, numpy.ones(array.nbytes, dtype=numpy.uint8)
        )

    def empty(self, shape: Extent, dtype: str = "f32", *, name: str | None = None) -> Buffer:
        """Global memory that was never written: reading it is poison until a kernel writes it. `shape` counts elements of `dtype`."""
        numpy = _numpy()
        if dtype not in _HOLDS:
            raise errors.bad_argument("dtype", dtype, "one of " + ", ".join(_HOLDS))
        numpy_name, packed = _HOLDS[dtype]
        dims = _extent("shape", shape)
        if packed == 2:
            if not dims or dims[-1] % 2:
                raise errors.bad_argument("shape", dims, f"an even last dimension: two {dtype} lie in a byte")
            dims[-1] //= 2
        array = numpy.zeros(dims, dtype=numpy_name)
        return self._add(name, dtype, array, numpy.zeros(array.nbytes, dtype=numpy.uint8))

    def tensor_map(
        self,
        buffer: Buffer | Address,
        *,
        tensorDataType: str,
        globalDim: Sequence[int],
        boxDim: Sequence[int],
        globalStrides: Sequence[int] = (),
        elementStrides: Sequence[int] | None = None,
        interleave: str = "NONE",
        swizzle: str = "NONE",
        l2Promotion: str = "NONE",
        oobFill: str = "NONE",
    ) -> TensorMap:
        """What cuTensorMapEncodeTiled makes of the same arguments; values of its enumerations with their prefix or without
        ("CU_TENSOR_MAP_SWIZZLE_128B", "128B"). globalStrides are bytes, one fewer than dimensions. The driver's rules are checked when
        it runs; a violation is a BadArgumentError that names the field."""
        address = buffer if isinstance(buffer, Address) else Address(buffer)
        fields: dict[str, Any] = {
            "tensorDataType": tensorDataType,
            "globalAddress": {"buffer": self._own(address.buffer).name, "offset": address.offset},
            "globalDim": [int(one) for one in globalDim],
            "globalStrides": [int(one) for one in globalStrides],
            "boxDim": [int(one) for one in boxDim],
            "interleave": interleave,
            "swizzle": swizzle,
            "l2Promotion": l2Promotion,
            "oobFill": oobFill,
        }
        if elementStrides is not None:
            fields["elementStrides"] = [int(one) for one in elementStrides]
        made = TensorMap(f"map{len(self._maps)}", address.buffer, fields)
        self._maps[made.name] = made
        return made

    def _own(self, buffer: Any) -> Buffer:
        if not isinstance(buffer, Buffer) or self._buffers.get(buffer.name) is not buffer:
            raise errors.bad_type("buffer", repr(buffer), "a Buffer of this Emulator")
        return buffer

    # ---- Launches ----

    def _module(self, ptx: str | os.PathLike[str]) -> str:
        if isinstance(ptx, os.PathLike):
            path = Path(ptx)
            text, wanted = path.read_text(), path.name
        elif isinstance(ptx, str):
            text, wanted = ptx, "module.ptx"
        else:
            raise errors.bad_type("ptx", type(ptx).__name__, "PTX text, or a path of a file with it")
        if text not in self._modules:
            taken = self._modules.values()
            name = wanted if wanted not in taken else f"{len(self._modules)}:{wanted}"
            self._modules[text] = name
        return self._modules[text]

    def launch(
        self,
        ptx: str | os.PathLike[str],
        kernel: str | None = None,
        *,
        grid: Extent = 1,
        block: Extent = 32,
        args: Sequence[Any] | Mapping[int, Any] = (),
        cluster: Extent = 1,
        dynamic_shared_bytes: int = 0,
        cooperative: bool = False,
        programmatic: bool = False,
        stream: int = 0,
        after: Sequence[int] = (),
    ) -> int:
        """Adds a launch to the list that run() runs; returns its number.

        ptx: text, or a pathlib.Path. kernel: an entry's name, not needed where there is one. grid, block, cluster: x, or (x, y, z).
        args: the kernel's parameters in order, or {byte offset: value}. A value is
          a Buffer or buffer.at(bytes)      its address
          a TensorMap                       128 bytes, by value
          a NumPy scalar                    numpy.uint32(5), numpy.float32(0.5), numpy.bool_(True)
          ("bf16", 0.5), ("u32", 5)         a scalar of a type by name
          bytes                             as they are
          a Struct                          values at offsets
        cooperative: all CTAs have to fit the board at once. programmatic: may overlap the launch before it on its stream, as
        programmatic dependent launches do. after: numbers of launches that are complete before it starts.
        """
        launch: dict[str, Any] = {
            "module": self._module(ptx),
            "grid": _extent("grid", grid),
            "block": _extent("block", block),
            "cluster": _extent("cluster", cluster),
            "dynamic_shared_bytes": int(dynamic_shared_bytes),
            "cooperative": bool(cooperative),
            "programmatic": bool(programmatic),
            "stream": int(stream),
            "after": [int(one) for one in after],
        }
        if kernel is not None:
            launch["kernel"] = str(kernel)
        if isinstance(args, Mapping):
            launch["params"] = [
                {**self._param(value, f"args[{at}]"), "at": int(at)} for at, value in args.items()
            ]
        else:
            launch["params"] = [self._param(value, f"args[{i}]") for i, value in enumerate(args)]
        self._launches.append(launch)
        return len(self._launches) - 1

    def _param(self, value: Any, name: str) -> dict[str, Any]:
        numpy = _numpy()
        if isinstance(value, Buffer):
            return {"buffer": self._own(value).name}
        if isinstance(value, Address):
            return {"buffer": self._own(value.buffer).name, "offset": value.offset}
        if isinstance(value, TensorMap):
            if self._maps.get(value.name) is not value:
                raise errors.bad_type(name, repr(value), "a TensorMap of this Emulator")
            return {"tensor_map": value.name}
        if isinstance(value, Struct):
            members = [
                {**self._param(one, f"{name}.{at}"), "at": int(at)} for at, one in value.members.items()
            ]
            return {"struct": members, "size": int(value.size)}
        if isinstance(value, bytes):
            return {"bytes": value.hex()}
        if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], str):
            number = value[1]
            if isinstance(number, float) and not math.isfinite(number):
                number = str(number)
            return {value[0]: number}
        if isinstance(value, numpy.generic):
            return {"bytes": value.tobytes().hex()}
        raise errors.bad_type(
            name,
            f"{type(value).__name__} {value!r}",
            'a Buffer, a TensorMap, a NumPy scalar, ("u32", 5), bytes or a Struct',
        )

    def run(
        self,
        *,
        seed: int = 0,
        seeds: int = 1,
        check: bool = True,
        race: bool = True,
        max_steps: int = 0,
        every_seed: bool = False,
        statistics: bool = False,
        threads: int = 0,
        memory_bytes: int | None = None,
        trace: str | os.PathLike[str] | None = None,
        expect: Mapping[str | Buffer, Any] | None = None,
        absolute: float = 0.0,
        relative: float = 0.0,
    ) -> Result:
        """Runs the launches and forgets them; buffers then hold what the last seed left.

        seed, seeds: order of warps and CTAs and timing of copies; each of `seeds` seeds from `seed` on starts with the same buffers, and
        the first with a finding is the last, unless every_seed. check: everything but bounds, which always hold; race: the race checker.
        max_steps: warp instructions per CTA after which a run counts as endless; 0: two thousand million. statistics: sectors, bank
        conflicts, copies and waits are counted too. threads: host threads of runs without checks, 0: all. trace: a file for each
        instruction that runs, with its results, as text. memory_bytes: the most that all
        buffers together may take; None: 1 TiB. expect: {buffer or its name: array}, compared bit for bit, or within
        absolute + relative * |expected| where one of these is not 0.
        """
        options: dict[str, Any] = {
            "seed": int(seed),
            "seeds": int(seeds),
            "check": bool(check),
            "race": bool(race),
            "max_steps": int(max_steps),
            "every_seed": bool(every_seed),
            "statistics": bool(statistics),
            "threads": int(threads),
        }
        folder = None
        if trace is not None:
            path = Path(trace).absolute()
            folder, options["trace"] = str(path.parent), {"file": path.name}
        if memory_bytes is not None:
            options["memory_bytes"] = int(memory_bytes)
        document = {
            "target": self.target,
            "options": options,
            "modules": {name: {"text": text} for text, name in self._modules.items()},
            "buffers": {name: self._described(buffer) for name, buffer in self._buffers.items()},
            "tensor_maps": {name: one.fields for name, one in self._maps.items()},
            "launches": self._launches,
        }
        for key, array in (expect or {}).items():
            name = key.name if isinstance(key, Buffer) else str(key)
            if name not in self._buffers:
                raise errors.bad_argument("expect", name, "a buffer's name")
            document["buffers"][name]["expect"] = {
                "values": _bit_patterns(self._buffers[name], array),
                "absolute": float(absolute),
                "relative": float(relative),
            }
        result = Result(self._run(document, folder), self._buffers.values())
        self._launches = []
        return result

    def _described(self, buffer: Buffer) -> dict[str, Any]:
        packed = _HOLDS[buffer.dtype][1]
        shape = list(buffer.array.shape)
        if packed == 2:
            shape = [*shape[:-1], shape[-1] * 2] if shape else [2]
        return {"dtype": buffer.dtype, "shape": shape, "address": hex(buffer.address)}

    def _run(self, document: dict[str, Any], folder: str | None) -> dict[str, Any]:
        from . import _native

        arrays = []
        for buffer in self._buffers.values():
            # New arrays: those of earlier results stay as they are.
            buffer.array = buffer.array.copy(order="C")
            buffer.written = buffer.written.copy()
            arrays.append(
                (buffer.name, buffer.array.ctypes.data, buffer.array.nbytes, buffer.written.ctypes.data)
            )
        return json.loads(_native.run_launches(json.dumps(document), folder, arrays))


def _element_type(dtype: str, array: Any) -> str:
    if dtype not in _HOLDS:
        raise errors.bad_argument("dtype", dtype, "one of " + ", ".join(_HOLDS))
    numpy = _numpy()
    width = numpy.dtype(_HOLDS[dtype][0]).itemsize
    if array.dtype.itemsize != width:
        raise errors.bad_argument(
            "dtype", dtype, f"a type of {array.dtype.itemsize} bytes, as the array's elements"
        )
    return dtype


def _bit_patterns(buffer: Buffer, array: Any) -> list[str]:
    numpy = _numpy()
    array = numpy.ascontiguousarray(array)
    if array.dtype != buffer.array.dtype or array.shape != buffer.array.shape:
        raise errors.bad_argument(
            "expect",
            f"{array.dtype} {list(array.shape)} for {buffer.name}",
            f"an array as the buffer's: {buffer.array.dtype} {list(buffer.array.shape)}",
        )
    bits = array.view(f"uint{8 * array.dtype.itemsize}").ravel().tolist()
    if _HOLDS[buffer.dtype][1] == 2:
        bits = [half for byte in bits for half in (byte & 15, byte >> 4)]
    return [hex(one) for one in bits]


def emulate(
    ptx: str | os.PathLike[str],
    kernel: str | None = None,
    *,
    args: Sequence[Any] = (),
    grid: Extent = 1,
    block: Extent = 32,
    cluster: Extent = 1,
    dynamic_shared_bytes: int = 0,
    cooperative: bool = False,
    target: str = "sm_120a",
    **options: Any,
) -> Result:
    """Runs one kernel on the CPU, every access checked.

    args: the kernel's parameters in order. NumPy arrays become buffers (see Emulator.buffer) whose contents afterwards are result.args[i];
    they are not changed themselves. deepwell.poison(shape, dtype) is a buffer that was never written. All else as Emulator.launch's.
    target, grid, block, cluster, ...: as Emulator's and its launch's. options: as Emulator.run's.

      y = deepwell.emulate(ptx, args=[x, deepwell.poison((64,), "f32"), numpy.uint32(64)], grid=1, block=64).raise_findings().args[1]
    """
    numpy = _numpy()
    emulator = Emulator(target)
    values: list[Any] = []
    for i, value in enumerate(args):
        if isinstance(value, numpy.ndarray):
            value = emulator.buffer(value, name=f"args[{i}]")
        elif isinstance(value, poison):
            value = emulator.empty(value.shape, value.dtype, name=f"args[{i}]")
        values.append(value)
    emulator.launch(
        ptx,
        kernel,
        args=values,
        grid=grid,
        block=block,
        cluster=cluster,
        dynamic_shared_bytes=dynamic_shared_bytes,
        cooperative=cooperative,
    )
    result = emulator.run(**options)
    result.args = [one.array if isinstance(one, Buffer) else None for one in values]
    return result


@dataclass(frozen=True)
class poison:
    """Memory for emulate() that was never written: `shape` elements of type `dtype` ("f32", "bf16", "e4m3", ...)."""

    shape: Any
    dtype: str = "f32"
