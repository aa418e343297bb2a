// CPUID, read here because __builtin_cpu_supports answers no to everything with zig's run-time library.
#include "num/processor.hpp"

#if defined(__x86_64__)
#include <cpuid.h>
#include <immintrin.h>
#endif

namespace deepwell::num {
namespace {

#if defined(__x86_64__)
/// The registers that the system saves when it switches threads.
__attribute__((target("xsave"))) unsigned long long saved_registers() { return _xgetbv(0); }

bool detect_avx2() {
  constexpr unsigned kXmmAndYmm = 6;
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
  if (!__get_cpuid(1, &eax, &ebx, &ecx, &edx)) return false;
  if (!(ecx & bit_OSXSAVE) || !(ecx & bit_AVX)) return false;
  if ((saved_registers() & kXmmAndYmm) != kXmmAndYmm) return false;
  return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) && (ebx & bit_AVX2) != 0;
}
#else
bool detect_avx2() { return false; }
#endif

}  // namespace

bool has_avx2() {
  static bool const has = detect_avx2();
  return has;
}

}  // namespace deepwell::num
