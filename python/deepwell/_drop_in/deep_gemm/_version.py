"""The version that callers compare: DeepGEMM's whose form this is, with Deepwell's behind the plus sign (PEP
440).
"""

import deepwell

INTERFACE = "2.8.1"
__version__ = f"{INTERFACE}+deepwell.{getattr(deepwell, '__version__', '0')}"
