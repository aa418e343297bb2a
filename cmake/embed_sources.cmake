# Device sources (plan/ and kernels/) are embedded in the library: run-time compilation needs no include path.
