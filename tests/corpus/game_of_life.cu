// The game of life in shared memory, two-dimensional blocks, a barrier a generation.
#include "corpus.h"
#if CORPUS_DEVICE
extern "C" __global__ void kernel(u8* cells, int generations) {
  __shared__ u8 board[2][18][18];
  int const x = threadIdx.x, y = threadIdx.y;
  u8* const flat = &board[0][0][0];
  for (int k = y * 16 + x; k < 2 * 18 * 18; k += 256) flat[k] = 0;
  __syncthreads();
  board[0][y + 1][x + 1] = cells[16 * y + x];
  __syncthreads();
  for (int g = 0; g < generations; ++g) {
    int sum = 0;
    for (int dy = 0; dy < 3; ++dy) {
      for (int dx = 0; dx < 3; ++dx) sum += dy == 1 && dx == 1 ? 0 : board[g % 2][y + dy][x + dx];
    }
    board[1 - g % 2][y + 1][x + 1] = sum == 3 || (sum == 2 && board[g % 2][y + 1][x + 1]);
    __syncthreads();
  }
  cells[16 * y + x] = board[generations % 2][y + 1][x + 1];
}
#else
CORPUS({.grid = {1}, .block = {16, 16}}, [](Data& data) {
  std::vector<u8> cells;
  for (int k = 0; k < 256; ++k) cells.push_back(data.bits() % 3 == 0);
  auto after = cells;
  for (int g = 0; g < 7; ++g) {
    auto const before = after;
    for (int y = 0; y < 16; ++y) {
      for (int x = 0; x < 16; ++x) {
        int sum = 0;
        for (int v = std::max(0, y - 1); v <= std::min(15, y + 1); ++v) {
          for (int u = std::max(0, x - 1); u <= std::min(15, x + 1); ++u)
            sum += (u != x || v != y) && before[16 * v + u];
        }
        after[16 * y + x] = sum == 3 || (sum == 2 && before[16 * y + x]);
      }
    }
  }
  data.inout(cells, after), data.value(7);
});
#endif
