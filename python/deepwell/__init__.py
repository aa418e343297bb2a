"""Deepwell: kernels for DeepSeek-V4 on SM 12.x, and an emulator that runs them on a CPU.

Importing this package touches no device.
"""
