// What kernels know about a target: limits, and which MMA it has.
#pragma once

namespace deepwell {

/// SM 12.0 and 12.1: warp-level block-scaled MMA.
struct Sm120 {
  static constexpr bool kBlockScaled = true;
  static constexpr int kSmemPerCta = 101376;
};

/// SM 9.0: unscaled MMA; scales are applied to partial sums.
struct Sm90 {
  static constexpr bool kBlockScaled = false;
  static constexpr int kSmemPerCta = 232448;
};

}  // namespace deepwell
