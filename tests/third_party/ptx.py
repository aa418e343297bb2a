"""Cuts PTX modules into modules of one kernel: what a module declares, and that kernel."""

import re
import subprocess
from functools import lru_cache

ENTRY = re.compile(r"^[ \t]*(?:\.visible\s+|\.weak\s+)?\.entry\s+([\w$]+)", re.M)
BRACE = re.compile(r"[{}]")
PARAM = re.compile(
    r"\.param\s+(?:\.align\s+(\d+)\s+)?\.(\w+)(?:\s+\.ptr(?:\s+\.\w+)?(?:\s+\.align\s+\d+)?)?\s+([\w$]+)(?:\[(\d+)\])?"
)
STATIC = re.compile(
    r"\s*(?:\.visible |\.weak |\.extern )?\.(?:shared|global|const)\b.*?([\w$]+)(?:\[\d*\])*(?: = .*)?;"
)


class Module:
    """The kernels of one PTX file, by mangled name."""

    def __init__(self, path):
        text = path.read_text()
        self.path, self.kernels, rest, at = path, {}, [], 0
        for match in ENTRY.finditer(text):
            rest.append(text[at : match.start()])
            depth, at = 0, text.index("\n{", match.end()) + 1
            while True:  # string literals do not occur inside of kernels
                brace = BRACE.search(text, at)
                depth += 1 if brace.group() == "{" else -1
                at = brace.end()
                if depth == 0:
                    break
            self.kernels[match.group(1)] = text[match.start() : at]
        rest.append(text[at:])
        self.rest = "".join(rest)
        names = list(self.kernels)
        readable = subprocess.run(
            ["c++filt"], input="\n".join(names), capture_output=True, text=True, check=True
        ).stdout
        self.readable = dict(zip(names, readable.splitlines()))

    def find(self, pattern):
        """The one entry whose readable name matches the regular expression."""
        names = [name for name, text in self.readable.items() if re.search(pattern, text)]
        if len(names) != 1:
            raise LookupError(
                f"{len(names)} entries of {self.path.name} match {pattern}: "
                + ", ".join(self.readable[name][:150] for name in names[:4])
            )
        return names[0]

    def text_of(self, entry):
        """A module with this kernel alone. Statics that it does not name are left out."""
        body = self.kernels[entry]
        used = set(re.findall(r"[\w$]+", body))
        kept = []
        for line in self.rest.splitlines():
            match = STATIC.match(line)
            if not match or match.group(1) in used:
                kept.append(line)
        return "\n".join(kept) + "\n" + body + "\n"

    def parameters(self, entry):
        """[(bytes, alignment)] of a kernel's parameters, as it declares them."""
        head = self.kernels[entry]
        head = head[: head.index("\n{")]
        out = []
        for align, kind, _, count in PARAM.findall(head):
            size = int(kind[1:]) // 8
            out.append((size * int(count or 1), int(align or size)))
        return out


# Repairs of what checkers rightly report, so that the rest of a kernel can be judged: (what is found, what it becomes).
FENCE = (r"(mbarrier\.init[^;]*;)", r"\1 fence.proxy.async;")
ELECT_SYNC = (r"(elect\.sync)", r"bar.warp.sync 0xffffffff; \1")
WARP_SYNC = (r"(membar\.cta;)", r"\1 bar.warp.sync 0xffffffff;")
GATHER_SYNC = (r"(membar\.cta;)((?:(?!barrier\.cta).)*?)(barrier\.cta\.sync \d+, \d+;)", r"\1 \3\2\3")


def patched(text, patches):
    for pattern, replacement in patches:
        text, count = re.subn(pattern, replacement, text, flags=re.S)
        if count == 0:
            raise LookupError(f"nothing to repair: {pattern}")
    return text


@lru_cache(maxsize=3)
def load(path):
    return Module(path)
