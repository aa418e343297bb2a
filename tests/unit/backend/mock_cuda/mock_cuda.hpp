// How tests steer and question the stand-in CUDA driver: a plain struct that the library hands out.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace mock_cuda {

struct DeviceRow {
  std::string name;
  int major = 0, minor = 0, sm_count = 0;
};

struct LaunchRecord {
  std::string function;
  std::vector<unsigned> grid, block, cluster;
  unsigned dynamic_smem_bytes = 0;
  void* stream = nullptr;
  bool programmatic = false;
  std::vector<std::vector<std::byte>> params;
};

/// All state of the driver. Tests reset it before use and read it after.
struct State {
  std::vector<DeviceRow> devices{{"Mock RTX", 12, 0, 170}, {"Mock Hopper", 9, 0, 132}};
  int version = 13000;
  std::map<std::string, int> fail;  // function -> result that it returns instead of working
  std::vector<std::string> calls;   // "cuMemAlloc 256"
  std::vector<LaunchRecord> launches;
  std::vector<std::size_t> param_bytes{8};  // of every kernel
  std::map<int, int> retained;              // device -> count
  std::map<void*, int> capture_mode;        // stream -> mode while captured
  bool capture_broken = false;              // a call came that capture forbids
  std::uint64_t capture_id = 7;
  std::size_t live_allocations = 0, live_modules = 0, live_streams = 0;
  std::string module_log;  // what loading writes to the error log

  int count(std::string const& function) const {
    int found = 0;
    for (std::string const& call : calls) {
      if (call == function || call.starts_with(function + " ")) ++found;
    }
    return found;
  }
};

using StateFunction = State* (*)();  // exported as mock_cuda_state

}  // namespace mock_cuda
