"""What Deepwell raises. Every class is a RuntimeError, which is what callers of deep_gemm catch.

Each error has the fields `argument`, `got` and `expected`, strings that may be empty.
"""


class DeepwellError(RuntimeError):
    """Base of all. A mistake of the library itself is a bare DeepwellError."""

    def __init__(self, message: str, argument: str = "", got: str = "", expected: str = "") -> None:
        super().__init__(message)
        self.argument = argument
        self.got = got
        self.expected = expected

    def __reduce__(self):
        return type(self), (str(self), self.argument, self.got, self.expected)


class BadArgumentError(DeepwellError, ValueError):
    """The caller's mistake. Nothing was launched and no output was touched."""


class BadTypeError(BadArgumentError, TypeError):
    """An argument of the wrong type, or a form of call that no version of the interface has."""


class UnsupportedError(DeepwellError, NotImplementedError):
    """A correct request that no kernel and no device here serves."""


class MissingError(UnsupportedError):
    """Something has to be installed first; the message says what and how."""


class ToolchainError(DeepwellError, NotImplementedError):
    """The run-time compiler is missing, too old, or failed."""


class DeviceError(DeepwellError):
    """A driver call or a device failed, or the emulator found a mistake in a kernel."""


def bad_argument(argument: str, got: object, expected: str) -> BadArgumentError:
    """The error for one argument: its message is made from the three."""
    return BadArgumentError(f"{argument}: got {got}, expected {expected}", argument, str(got), expected)


def bad_type(argument: str, got: object, expected: str) -> BadTypeError:
    """As bad_argument, for a value of the wrong type."""
    return BadTypeError(f"{argument}: got {got}, expected {expected}", argument, str(got), expected)
