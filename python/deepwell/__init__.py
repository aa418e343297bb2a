"""Deepwell: kernels for DeepSeek-V4 on SM 12.x, and an emulator that runs them on a CPU.

Importing this package touches no device. It installs the hook that makes `import deep_gemm` find Deepwell's
drop-in (`_hook.py`), which a wheel's .pth file does too, at interpreter start.
"""

from . import _hook

_hook.install()
