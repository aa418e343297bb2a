// What every file of the corpus includes. A device compiler sees names of types; the host compiler sees the registry of expected
// results, which it computes in plain C++.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i8 = signed char;
using i16 = short;
using i32 = int;
using i64 = long long;

#if defined(__CUDACC__)
#define CORPUS_DEVICE 1
#if defined(__CUDACC_RTC__)
#ifndef assert  // NVRTC declares __assertfail, and has no <cassert>
#define assert(x) ((x) ? static_cast<void>(0) : __assertfail(#x, __FILE__, __LINE__, __func__, 1))
#endif
#else
#include <cassert>
#include <cstdio>
#endif
/// The thread's number in a grid of one dimension.
__device__ inline u32 thread_number() { return blockIdx.x * blockDim.x + threadIdx.x; }
#else
#define CORPUS_DEVICE 0
#include "corpus/data.hpp"
#endif
