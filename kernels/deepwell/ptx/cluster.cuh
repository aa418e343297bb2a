// Clusters: CTAs that run together and read each other's shared memory.
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

/// barrier.cluster (PTX ISA 9.7.13.4) among the cluster's threads that have not ended: what they wrote before is seen after.
__device__ __forceinline__ void cluster_sync() {
  asm volatile(
      "barrier.cluster.arrive.release.aligned;\n"
      "barrier.cluster.wait.acquire.aligned;" ::
          : "memory");
}

}  // namespace deepwell
