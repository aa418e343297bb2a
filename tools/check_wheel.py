"""Says whether a wheel is what its name promises: check_wheel.py WHEEL PLATFORM, as manylinux_2_28_aarch64.

- auditwheel finds that its binaries run on PLATFORM or an older one, and need no library that PLATFORM does not have;
- every binary is of PLATFORM's processor, and names the version of each symbol that it takes from the C library: one without
  would be any C library's, and auditwheel would not see that an old one lacks it;
- the libraries export what callers are meant to find and nothing else;
- the parts are there that the package is made of.

Prints what it found and one line per violation, exit code 1 if there is one. Needs auditwheel.
"""
import argparse
import json
import re
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
# Whose symbols have no versions: Python's, and those of the C interface.
WITHOUT_VERSIONS = ("Py", "_Py", "dw_")


def symbols_of(elf):
    """(name, whether the file defines it, whether it names a version or may be missing) of the dynamic symbols."""
    versions = elf.get_section_by_name(".gnu.version")
    for index, symbol in enumerate(elf.get_section_by_name(".dynsym").iter_symbols()):
        bind = symbol["st_info"]["bind"]
        if bind in ("STB_GLOBAL", "STB_WEAK"):
            has_version = versions is not None and isinstance(versions.get_symbol(index).entry["ndx"], int)
            yield symbol.name, symbol["st_shndx"] != "SHN_UNDEF", has_version or bind == "STB_WEAK"


def check_binary(name, data, machine):
    elf = ELFFile(BytesIO(data))
    found = []
    if elf["e_machine"] != machine:
        found.append(f"{name} is for {elf['e_machine']}, not {machine}")
    for symbol, defined, has_version in symbols_of(elf):
        if defined:
            if name in EXPORTS and not symbol.startswith(EXPORTS[name]):
                found.append(f"{name} exports {symbol}")
        elif not has_version and not symbol.startswith(WITHOUT_VERSIONS):
            found.append(f"{name} takes {symbol} from no version of the C library")
    return found


def check_platform(report, platform):
    """What auditwheel's report says against the platform, as manylinux_2_28_x86_64."""
    pattern = re.compile(r"manylinux_(\d+)_(\d+)_(\w+)")
    found, wanted = pattern.fullmatch(report["overall_tag"]), pattern.fullmatch(platform)
    violations = [f"needs {library}, which no platform has" for library in report["external_libs"]]
    if not found or found[3] != wanted[3] or (int(found[1]), int(found[2])) > (int(wanted[1]), int(wanted[2])):
        violations.append(f"runs on {report['overall_tag']}, which is not {platform}")
    if report["unsupported_isa"]:
        violations.append("needs a newer processor than its platform promises")
    return violations


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("wheel", type=Path)
    parser.add_argument("platform")
    options = parser.parse_args(arguments)
    machine = next(machine for arch, machine in MACHINES.items() if options.platform.endswith(arch))
    command = [sys.executable, "-m", "auditwheel", "show", "--json", str(options.wheel)]
    report = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    print(f"{options.wheel}: {options.wheel.stat().st_size / 1e6:.2f} MB, runs on {report['overall_tag']}")

    violations = check_platform(report, options.platform)
    if f"-{options.platform}.whl" not in options.wheel.name:
        violations.append(f"its name does not say {options.platform}")
    with zipfile.ZipFile(options.wheel) as wheel:
        violations += [f"{part} is missing" for part in PARTS if part not in wheel.namelist()]
        for name in wheel.namelist():
            data = wheel.read(name)
            if data.startswith(b"\x7fELF"):
                print(f"  {name}: {len(data) / 1e6:.2f} MB")
                violations += check_binary(name, data, machine)
    for violation in violations:
        print(f"check_wheel: {violation}")
    print(f"check_wheel: {len(violations)} violations")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
