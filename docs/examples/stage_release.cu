// Two warps share two stages of shared memory: one fills them by bulk copies, one sums them up. The reader gives a stage back by
// lane 0 alone; -DORDERED puts the __syncwarp() before it that the other lanes' reads need.
#include <cstdint>

constexpr int kStages = 2, kRounds = 8, kWords = 32;

__device__ uint32_t address_of(void const* p) { return static_cast<uint32_t>(__cvta_generic_to_shared(p)); }
__device__ void arrive(uint64_t* bar) {
  asm volatile("mbarrier.arrive.shared::cta.b64 _, [%0];" ::"r"(address_of(bar)) : "memory");
}
__device__ void wait(uint64_t* bar, int parity) {
  asm volatile(
      "{\n.reg .pred done;\nAGAIN:\nmbarrier.try_wait.parity.shared::cta.b64 done, [%0], %1;\n@!done bra AGAIN;\n}" ::"r"(
          address_of(bar)),
      "r"(parity)
      : "memory");
}

extern "C" __global__ void stage_release(float const* in, float* out) {
  __shared__ alignas(128) float stage[kStages][kWords];
  __shared__ alignas(8) uint64_t full[kStages], empty[kStages];
  int const lane = threadIdx.x % 32;
  if (threadIdx.x == 0) {
    for (int s = 0; s < kStages; ++s) {
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(address_of(&full[s])) : "memory");
      asm volatile("mbarrier.init.shared::cta.b64 [%0], 1;" ::"r"(address_of(&empty[s])) : "memory");
    }
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
  }
  __syncthreads();
  if (threadIdx.x < 32) {
    for (int i = 0; i < kRounds; ++i) {
      int const s = i % kStages, phase = i / kStages % 2;
      if (lane == 0) {
        wait(&empty[s], phase ^ 1);
        asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], 128;" ::"r"(address_of(&full[s])) : "memory");
        asm volatile("cp.async.bulk.shared::cta.global.mbarrier::complete_tx::bytes [%0], [%1], 128, [%2];" ::"r"(
                         address_of(stage[s])),
                     "l"(in + i * kWords), "r"(address_of(&full[s]))
                     : "memory");
      }
    }
  } else {
    float sum = 0;
    for (int i = 0; i < kRounds; ++i) {
      int const s = i % kStages, phase = i / kStages % 2;
      wait(&full[s], phase);
      sum += stage[s][lane];
#ifdef ORDERED
      __syncwarp();
#endif
      if (lane == 0) arrive(&empty[s]);
    }
    out[lane] = sum;
  }
}
