// A switch of many cases, which becomes a table of branch targets, inside a loop: a small interpreter.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u8 const* program, i32 const* input, i32* out, int length) {
  u32 const t = threadIdx.x;
  i32 a = input[t], b = static_cast<i32>(t), steps = 0;
  for (int pc = 0; pc < length && steps < 200; ++pc, ++steps) {
    switch (program[(pc + t) % length] % 11) {
      case 0: a += b; break;
      case 1: a -= b; break;
      case 2: a ^= b << 3; break;
      case 3: b = a >> 2; break;
      case 4: b += 7; break;
      case 5: a = -a; break;
      case 6: b = a & 0xff; [[fallthrough]];
      case 7: a |= 1; break;
      case 8:
        if (a > b) ++pc;
        break;
      case 9: a = a * 5 + 1; break;
      default: b = ~b;
    }
  }
  out[2 * t] = a, out[2 * t + 1] = b;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  int const length = 50;
  auto const program = data.in(data.random<u8>(length));
  auto const input = data.in(data.random<i32>(64));
  std::vector<i32> out;
  for (int t = 0; t < 64; ++t) {
    u32 a = static_cast<u32>(input[t]), b = static_cast<u32>(t);
    for (int pc = 0, steps = 0; pc < length && steps < 200; ++pc, ++steps) {
      int const what = program[(pc + t) % length] % 11;
      if (what == 0) a += b;
      if (what == 1) a -= b;
      if (what == 2) a ^= b << 3;
      if (what == 3) b = static_cast<u32>(static_cast<i32>(a) >> 2);
      if (what == 4) b += 7;
      if (what == 5) a = 0 - a;
      if (what == 6) b = a & 0xff;
      if (what == 6 || what == 7) a |= 1;
      if (what == 8 && static_cast<i32>(a) > static_cast<i32>(b)) ++pc;
      if (what == 9) a = a * 5 + 1;
      if (what == 10) b = ~b;
    }
    out.push_back(static_cast<i32>(a)), out.push_back(static_cast<i32>(b));
  }
  data.out(out), data.value(length);
});
#endif
