"""Runs third parties' host code against a stand-in for the CUDA runtime, and makes the launches that come out of it.

Addresses that host code sees are not those of the machine: each buffer has a range of its own, and what lies in one of these in a
parameter becomes that buffer's address. Tensor maps are marked where they are made, and made by the machine when it launches.
"""

import ctypes
import struct

import build
import deepwell
import numpy as np
from emulator import Buffer

MARK = b"TENSOR_MAP_OF_THIS_TEST_"  # CUTLASS clears a bit of the second word that is clear in these letters
RANGE = 1 << 36
FIRST = 0x5000 * RANGE >> 4
DTYPES = (
    "UINT8 UINT16 UINT32 INT32 UINT64 INT64 FLOAT16 FLOAT32 FLOAT64 BFLOAT16 FLOAT32_FTZ TFLOAT32 TFLOAT32_FTZ 16U4_ALIGN8B "
    "16U4_ALIGN16B 16U6_ALIGN16B"
).split()
SWIZZLES = ("NONE", "32B", "64B", "128B")
INTERLEAVES = ("NONE", "16B", "32B")
PROMOTIONS = ("NONE", "L2_64B", "L2_128B", "L2_256B")
FILLS = ("NONE", "NAN_REQUEST_ZERO_FMA")

U32, U64, VOID = ctypes.c_uint, ctypes.c_ulonglong, ctypes.c_void_p
LAUNCH = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, *[ctypes.POINTER(U32)] * 3, ctypes.c_size_t, ctypes.POINTER(VOID)
)
ENCODE = ctypes.CFUNCTYPE(
    ctypes.c_int,
    VOID,
    ctypes.c_int,
    U32,
    VOID,
    *[ctypes.POINTER(U64)] * 2,
    *[ctypes.POINTER(U32)] * 2,
    *[ctypes.c_int] * 4,
)


class Host:
    """The host code of one unit, for one device."""

    def __init__(self, device, unit, sm_count=4, race=True):
        self.device, self.unit, self.race, self.maps, self.error = device, unit, race, [], None
        self.runtime = ctypes.CDLL(build.fake_runtime(), mode=ctypes.RTLD_GLOBAL)
        library = build.host_of(unit)
        if not library.exists():
            raise FileNotFoundError(library)
        self.library = ctypes.CDLL(library, mode=ctypes.RTLD_LOCAL)
        self.callbacks = LAUNCH(self._launch), ENCODE(self._encode)
        self.runtime.fake_set(*self.callbacks, sm_count)
        self.buffers = []
        # What maps without an address point at, until the kernel gives them one. Made here: a buffer that is made after a launch
        # may move others, and launches leave addresses in memory.
        self.nowhere = device.empty(16, np.uint8, "nowhere")

    def call(self, *args, function="run", result=ctypes.c_int):
        """Calls a C function of the unit; raises what went wrong in a callback."""
        entry = getattr(self.library, function)
        entry.restype = result
        out = entry(*(VOID(self._address(a)) if isinstance(a, Buffer) else a for a in args))
        if self.error is not None:
            raise self.error
        return out

    def _address(self, buffer):
        if buffer not in self.buffers:
            self.buffers.append(buffer)
        return FIRST + self.buffers.index(buffer) * RANGE

    def _place(self, address):
        """The buffer and the offset of an address that host code saw, or None."""
        index, offset = divmod(address - FIRST, RANGE)
        if 0 <= index < len(self.buffers) and offset <= self.buffers[index].memory.array.nbytes:
            return self.buffers[index].at(offset)
        return None

    def _encode(
        self,
        target,
        dtype,
        rank,
        base,
        dims,
        strides,
        box,
        element_strides,
        interleave,
        swizzle,
        promotion,
        fill,
    ):
        try:
            place = self._place(base) if base else self.nowhere.at(0)
            self.maps.append(
                self.device.machine.tensor_map(
                    place,
                    tensorDataType=DTYPES[dtype],
                    globalDim=dims[:rank],
                    globalStrides=strides[: rank - 1],
                    boxDim=box[:rank],
                    elementStrides=element_strides[:rank],
                    interleave=INTERLEAVES[interleave],
                    swizzle=SWIZZLES[swizzle],
                    l2Promotion=PROMOTIONS[promotion],
                    oobFill=FILLS[fill],
                )
            )
            ctypes.memmove(target, (MARK + struct.pack("<q", len(self.maps) - 1)).ljust(128, b"\0"), 128)
            return 0
        except Exception as error:
            self.error = error
            return 1

    def _launch(self, name, grid, block, cluster, shared_bytes, args):
        try:
            name = name.decode()
            values = [
                self._value(ctypes.string_at(args[i], size))
                for i, (size, _) in enumerate(self.device.declared(self.unit, name))
            ]
            self.device.launch_entry(
                self.unit,
                name,
                tuple(grid[:3]),
                tuple(block[:3]),
                values,
                shared_bytes,
                tuple(cluster[:3]),
                self.race,
            )
        except Exception as error:
            self.error = error

    def _value(self, raw):
        """A parameter's bytes, with addresses and tensor maps put in."""
        members, at = {}, 0
        while at < len(raw):
            if raw[at : at + len(MARK)] == MARK:
                members[at] = self.maps[struct.unpack_from("<q", raw, at + len(MARK))[0]]
                at += 128
                continue
            word = raw[at : at + 8]
            place = self._place(struct.unpack("<q", word)[0]) if len(word) == 8 else None
            if place is not None:
                members[at] = place
            elif any(word):
                members[at] = word
            at += 8
        return deepwell.Struct(len(raw), members)
