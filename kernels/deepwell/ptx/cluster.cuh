// Clusters: CTAs that run together and read and write each other's shared memory.
#pragma once

#include "deepwell/ptx/types.cuh"

namespace deepwell {

/// A byte address in the cluster's shared memory window.
struct ClusterAddr {
  uint32 value;
};

/// mapa.shared::cluster (PTX ISA 9.7.9.23): the place in CTA `rank` of the cluster that `address` names in this one.
__device__ __forceinline__ ClusterAddr cluster_addr(SmemAddr address, uint32 rank) {
  uint32 there;
  asm("mapa.shared::cluster.u32 %0, %1, %2;" : "=r"(there) : "r"(address.value), "r"(rank));
  return {there};
}

/// ld.shared::cluster.v4.f32, 16-byte aligned (PTX ISA 9.7.9.8).
__device__ __forceinline__ void load_cluster_f32x4(float (&value)[4], ClusterAddr from) {
  asm volatile("ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [%4];"
               : "=f"(value[0]), "=f"(value[1]), "=f"(value[2]), "=f"(value[3])
               : "r"(from.value)
               : "memory");
}

/// st.async.weak.shared::cluster.v4.f32, 16-byte aligned (PTX ISA 9.7.9.12): the bytes arrive some time, and `barrier`, an mbarrier of
/// the same CTA, counts them then.
__device__ __forceinline__ void store_async_f32x4(ClusterAddr to, float const (&value)[4],
                                                  ClusterAddr barrier) {
  asm volatile(
      "st.async.weak.shared::cluster.mbarrier::complete_tx::bytes.v4.f32 [%0], {%1, %2, %3, %4}, [%5];" ::"r"(
          to.value),
      "f"(value[0]), "f"(value[1]), "f"(value[2]), "f"(value[3]), "r"(barrier.value)
      : "memory");
}

/// mbarrier.arrive.expect_tx, release at cluster scope: arrives and adds `bytes`, which others of the cluster send, to what the phase
/// waits for.
__device__ __forceinline__ void mbarrier_arrive_expect_tx_cluster(SmemAddr barrier, uint32 bytes) {
  asm volatile("mbarrier.arrive.expect_tx.release.cluster.shared::cta.b64 _, [%0], %1;" ::"r"(barrier.value),
               "r"(bytes)
               : "memory");
}

/// Waits until what other CTAs of the cluster wrote before this phase of `barrier` completed is seen (PTX ISA 9.7.13.15.16).
__device__ __forceinline__ void mbarrier_wait_cluster(SmemAddr barrier, uint32 parity) {
  uint32 done = 0;
  while (done == 0) {
    asm volatile(
        "{\n"
        ".reg .pred complete;\n"
        "mbarrier.try_wait.parity.acquire.cluster.shared::cta.b64 complete, [%1], %2;\n"
        "selp.u32 %0, 1, 0, complete;\n"
        "}"
        : "=r"(done)
        : "r"(barrier.value), "r"(parity)
        : "memory");
  }
}

/// The two halves of barrier.cluster (PTX ISA 9.7.13.4). Each thread of a warp arrives by itself. The arrival makes nothing visible:
/// enough where the others only have to know that mbarriers are there, which fence_mbarrier_init has made visible.
__device__ __forceinline__ void cluster_arrive_relaxed() {
  asm volatile("barrier.cluster.arrive.relaxed;" ::: "memory");
}
__device__ __forceinline__ void cluster_wait() {
  asm volatile("barrier.cluster.wait.acquire.aligned;" ::: "memory");
}

/// barrier.cluster (PTX ISA 9.7.13.4) among the cluster's threads that have not ended: what they wrote before is seen after.
__device__ __forceinline__ void cluster_sync() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}

}  // namespace deepwell
