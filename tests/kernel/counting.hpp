// Launches of an emulated device with counting on.
#pragma once

#include "backend/emu/emu_backend.hpp"
#include "ops/context.hpp"

namespace deepwell {

/// While it lives, launches are counted, checked (one host thread: every count is the same each time) and under seed 0.
class Counting {
 public:
  explicit Counting(Context& context)
      : backend_(dynamic_cast<EmuBackend&>(context.backend())), before_(backend_.options()) {
    emu::Options options = before_;
    options.check = true;
    options.race = false;
    options.seed = 0;
    options.statistics = true;
    backend_.set_options(options);
  }
  ~Counting() { backend_.set_options(before_); }
  Counting(Counting const&) = delete;
  Counting& operator=(Counting const&) = delete;
  /// Of the launch before.
  emu::Statistics last() const { return backend_.last_statistics(); }

 private:
  EmuBackend& backend_;
  emu::Options before_;
};

}  // namespace deepwell
