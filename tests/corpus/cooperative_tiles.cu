// Cooperative groups: tiles of a warp, coalesced threads, block groups.
#include "corpus.h"
#if CORPUS_DEVICE
#include <cooperative_groups.h>
namespace cg = cooperative_groups;
extern "C" __global__ void kernel(u32 const* a, u32* out) {
  cg::thread_block const block = cg::this_thread_block();
  u32 const t = block.thread_rank();
  auto const tile = cg::tiled_partition<8>(block);
  u32 sum = a[t];
  for (u32 d = tile.size() / 2; d > 0; d /= 2) sum += tile.shfl_down(sum, d);
  u32 const first = tile.shfl(sum, 0);
  u32 extra = 0;
  if (a[t] % 3 == 0) {
    cg::coalesced_group const active = cg::coalesced_threads();
    extra = active.size() * 100 + active.thread_rank();
  }
  block.sync();
  out[2 * t] = first,
          out[2 * t + 1] = extra + (tile.any(a[t] % 17 == 0) ? 10000 : 0) + tile.meta_group_rank() * 100000;
}
#else
CORPUS({.grid = {1}, .block = {64}}, [](Data& data) {
  auto const a = data.in(data.random<u32>(64));
  std::vector<u32> out;
  for (u32 t = 0; t < 64; ++t) {
    u32 sum = 0, size = 0, rank = 0, any = 0;
    for (u32 k = 0; k < 8; ++k) sum += a[t / 8 * 8 + k], any |= a[t / 8 * 8 + k] % 17 == 0;
    for (u32 k = t / 32 * 32; k < t / 32 * 32 + 32; ++k) {
      size += a[k] % 3 == 0;
      rank += a[k] % 3 == 0 && k < t;
    }
    out.push_back(sum);
    out.push_back((a[t] % 3 == 0 ? size * 100 + rank : 0) + (any ? 10000 : 0) + t / 8 * 100000);
  }
  data.out(out);
});
#endif
