"""Says whether a wheel is what its name promises: check_wheel.py WHEEL PLATFORM, as manylinux_2_28_aarch64.

- auditwheel finds that its binaries run on PLATFORM, and that they need no library besides those that PLATFORM has;
- every binary is of PLATFORM's processor;
- libdeepwell.so exports the C interface and nothing else, the extension module its initialisation;
- the parts are there that the package is made of.

Prints what it found and one line per violation, exit code 1 if there is one. Needs auditwheel.
"""
import argparse
import json
import subprocess
import sys
import zipfile
from io import BytesIO
from pathlib import Path

from elftools.elf.elffile import ELFFile

MACHINES = {"x86_64": "EM_X86_64", "aarch64": "EM_AARCH64"}
PARTS = [
    "deepwell/__init__.py",
    "deepwell/_native.abi3.so",
    "deepwell/bin/deepwell",
    "deepwell/cli.py",
    "deepwell/include/deepwell/deepwell.h",
    "deepwell/lib/libdeepwell.so",
    "deepwell/lib/libdeepwell_emulator.so",
    "deepwell_deep_gemm.pth",
]
# Library -> what the names that it exports begin with.
EXPORTS = {
    "deepwell/_native.abi3.so": "PyInit__native",
    "deepwell/lib/libdeepwell.so": "dw_",
    "deepwell/lib/libdeepwell_emulator.so": "deepwell_emulator",
}


def exported(elf):
    """Names of the dynamic symbols that the file defines."""
    return [symbol.name for symbol in elf.get_section_by_name(".dynsym").iter_symbols()
            if symbol["st_shndx"] != "SHN_UNDEF" and symbol["st_info"]["bind"] in ("STB_GLOBAL", "STB_WEAK")]


def check_binaries(wheel, machine):
    found = []
    for name in wheel.namelist():
        data = wheel.read(name)
        if not data.startswith(b"\x7fELF"):
            continue
        elf = ELFFile(BytesIO(data))
        print(f"  {name}: {len(data) / 1e6:.1f} MB")
        if elf["e_machine"] != machine:
            found.append(f"{name} is for {elf['e_machine']}, not {machine}")
        if name in EXPORTS:
            found += [f"{name} exports {symbol}" for symbol in exported(elf) if not symbol.startswith(EXPORTS[name])]
    return found


def check_platform(path, platform):
    """What auditwheel says."""
    command = [sys.executable, "-m", "auditwheel", "show", "--json", str(path)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
    if done.returncode != 0:
        return ["auditwheel cannot read it"]
    report = json.loads(done.stdout)
    print(json.dumps(report, indent=2))
    return []


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("platform")
    options = parser.parse_args(arguments)
    arch = next(arch for arch in MACHINES if options.platform.endswith(arch))
    print(f"{options.wheel.name}: {options.wheel.stat().st_size / 1e6:.1f} MB")
    violations = check_platform(options.wheel, options.platform)
    with zipfile.ZipFile(options.wheel) as wheel:
        violations += check_binaries(wheel, MACHINES[arch])
        violations += [f"{part} is missing" for part in PARTS if part not in wheel.namelist()]
    for violation in violations:
        print(f"check_wheel: {violation}")
    print(f"check_wheel: {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
