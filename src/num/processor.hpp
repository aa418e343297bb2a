// What the processor at hand can do beyond the baseline that host code is compiled for.
#pragma once

namespace deepwell::num {

/// Whether processor and system have AVX2. false on other processors than x86-64.
bool has_avx2();

}  // namespace deepwell::num
