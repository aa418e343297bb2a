"""What cases use of deepwell.Emulator: buffers, parameters as kernels declare them, launches with every checker on."""

import build
import deepwell
import numpy as np
import ptx

TYPES = {"uint8": "u8", "uint16": "u16", "int32": "s32", "int64": "s64", "uint32": "u32", "float32": "f32"}


class Finding(Exception):
    """What a checker reported."""


class Buffer:
    """Global memory; reading it runs what is pending."""

    def __init__(self, device, memory):
        self.device, self.memory = device, memory

    def read(self):
        self.device.sync()
        return self.memory.array.copy()

    def at(self, offset):
        return self.memory.at(offset)


class Blob:
    """A struct by value: members at offsets, numbers, buffers and None, in `size` bytes."""

    def __init__(self, members, size):
        self.members, self.size = members, size

    def struct(self):
        return deepwell.Struct(self.size, {at: _value(value, 8) for at, value in self.members.items()})


def blob(*parts):
    """A struct whose members are given in order, each aligned to its size; its size is a multiple of 8."""
    members, at = {}, 0
    for part in parts:
        size = 8 if isinstance(part, Buffer) else part.nbytes
        at += -at % size
        members[at] = part
        at += size
    return Blob(members, at + -at % 8)


def _value(value, size):
    """A parameter as deepwell takes it."""
    if value is None:
        return bytes(size)
    if isinstance(value, Buffer):
        return value.memory
    return value.struct() if isinstance(value, Blob) else value


def _size(value):
    if value is None or isinstance(value, Buffer):
        return 8
    if isinstance(value, bytes):
        return len(value)
    return value.size if isinstance(value, (Blob, deepwell.Struct)) else value.nbytes


class Device:
    def __init__(self, target="sm_120a", seed=0):
        self.target, self.seed, self.seconds = target, seed, 0.0
        self.machine = deepwell.Emulator(target)
        self.launches = []  # (unit, readable entry, lines of PTX, grid, block, shared memory, repairs)
        self._pending, self._race, self._names = False, True, {}

    def _name(self, label):
        count = self._names[label] = self._names.get(label, 0) + 1
        return label if count == 1 else f"{label}{count}"

    def put(self, array, label="in"):
        self.sync()
        return Buffer(self, self.machine.buffer(array, name=self._name(label), dtype=TYPES[array.dtype.name]))

    def empty(self, shape, dtype, label="out"):
        """Memory that was never written."""
        self.sync()
        return Buffer(self, self.machine.empty(shape, TYPES[np.dtype(dtype).name], name=self._name(label)))

    def declared(self, unit, entry):
        """[(bytes, alignment)] of an entry's parameters."""
        return ptx.load(build.ptx_of(unit, self.target)).parameters(entry)

    def launch(self, unit, pattern, grid, block, params, smem=0, cluster=(1, 1, 1), race=True, patches=()):
        """One kernel of a unit, the one whose readable name matches; params as it declares them."""
        entry = ptx.load(build.ptx_of(unit, self.target)).find(pattern)
        self.launch_entry(unit, entry, grid, block, params, smem, cluster, race, patches)

    def launch_entry(
        self, unit, entry, grid, block, params, smem=0, cluster=(1, 1, 1), race=True, patches=()
    ):
        module = ptx.load(build.ptx_of(unit, self.target))
        declared = module.parameters(entry)
        if len(declared) != len(params):
            raise LookupError(f"{len(params)} parameters for the {len(declared)} of {module.readable[entry]}")
        args, at = {}, 0
        for (size, align), value in zip(declared, params):
            if _size(value) != size:
                raise LookupError(
                    f"{_size(value)} bytes for a parameter of {size} at {at} of {module.readable[entry]}"
                )
            at += -at % align
            args[at] = _value(value, size)
            at += size
        text = ptx.patched(module.text_of(entry), patches)
        self.machine.launch(
            text, entry, grid=grid, block=block, cluster=cluster, dynamic_shared_bytes=smem, args=args
        )
        self._pending, self._race = True, self._race and race
        self.launches.append(
            (unit, module.readable[entry], text.count("\n"), grid, block, smem, len(patches))
        )

    def sync(self):
        if not self._pending:
            return
        self._pending = False
        result = self.machine.run(seed=self.seed, race=self._race)
        self.seconds += result.seconds
        for finding in result.findings:
            raise Finding(finding.message)
