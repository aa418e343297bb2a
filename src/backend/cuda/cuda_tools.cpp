// Streams, events and graphs.
#include "backend/cuda/cuda_tools.hpp"

#include <utility>

namespace deepwell::cuda {
namespace {

/// For destructors: makes the context current if it can, calls, and lets failures go, since nobody is left to be told.
template <class Call>
void quietly(Device const& device, Call&& call) {
  try {
    CurrentContext const current(device);
    call();
  } catch (Error const&) {
  }
}

}  // namespace

std::shared_ptr<Device const> device_of(Backend& backend) {
  auto* const cuda = dynamic_cast<CudaBackend*>(&backend);
  if (cuda == nullptr) throw bad_argument("device", backend.device().id, "a CUDA device");
  return cuda->shared_device();
}

OwnedStream::OwnedStream(std::shared_ptr<Device const> device) : device_(std::move(device)) {
  CurrentContext const current(*device_);
  DW_CU(device_->driver(), device_->info().id, cuStreamCreate, &stream_, kStreamNonBlocking);
}

OwnedStream::~OwnedStream() {
  quietly(*device_, [&] { device_->driver().cuStreamDestroy(stream_); });
}

Event::Event(std::shared_ptr<Device const> device) : device_(std::move(device)) {
  CurrentContext const current(*device_);
  DW_CU(device_->driver(), device_->info().id, cuEventCreate, &event_, 0);
}

Event::~Event() {
  quietly(*device_, [&] { device_->driver().cuEventDestroy(event_); });
}

void Event::record(Stream stream) {
  CurrentContext const current(*device_);
  DW_CU(device_->driver(), device_->info().id, cuEventRecord, event_, stream);
}

void Event::synchronize() {
  CurrentContext const current(*device_);
  DW_CU(device_->driver(), device_->info().id, cuEventSynchronize, event_);
}

void Event::wait_on(Stream stream) {
  CurrentContext const current(*device_);
  DW_CU(device_->driver(), device_->info().id, cuStreamWaitEvent, stream, event_, 0);
}

double Event::seconds_to(Event& end) {
  end.synchronize();
  CurrentContext const current(*device_);
  float milliseconds = 0;
  DW_CU(device_->driver(), device_->info().id, cuEventElapsedTime, &milliseconds, event_, end.event_);
  return static_cast<double>(milliseconds) * 1e-3;
}

Graph::Graph(std::shared_ptr<Device const> device, GraphHandle graph)
    : device_(std::move(device)), graph_(graph) {
  CurrentContext const current(*device_);
  if (Result const result = device_->driver().cuGraphInstantiate(&exec_, graph_, 0); result != kSuccess) {
    device_->driver().cuGraphDestroy(graph_);
    throw_driver_error(device_->driver(), result, "cuGraphInstantiateWithFlags(&exec, graph, 0)",
                       device_->info().id);
  }
}

Graph::~Graph() {
  quietly(*device_, [&] {
    device_->driver().cuGraphExecDestroy(exec_);
    device_->driver().cuGraphDestroy(graph_);
  });
}

void Graph::launch(Stream stream) {
  CurrentContext const current(*device_);
  DW_CU(device_->driver(), device_->info().id, cuGraphLaunch, exec_, stream);
}

Capture::Capture(std::shared_ptr<Device const> device, Stream stream, CaptureMode mode)
    : device_(std::move(device)), stream_(stream) {
  CurrentContext const current(*device_);
  int const driver_mode = mode == CaptureMode::kGlobal        ? kCaptureGlobal
                          : mode == CaptureMode::kThreadLocal ? kCaptureThreadLocal
                                                              : kCaptureRelaxed;
  DW_CU(device_->driver(), device_->info().id, cuStreamBeginCapture, stream_, driver_mode);
  active_ = true;
}

Capture::~Capture() {
  if (!active_) return;
  quietly(*device_, [&] {
    GraphHandle graph = nullptr;
    if (device_->driver().cuStreamEndCapture(stream_, &graph) == kSuccess && graph != nullptr) {
      device_->driver().cuGraphDestroy(graph);
    }
  });
}

std::unique_ptr<Graph> Capture::finish() {
  CurrentContext const current(*device_);
  GraphHandle graph = nullptr;
  active_ = false;
  DW_CU(device_->driver(), device_->info().id, cuStreamEndCapture, stream_, &graph);
  return std::make_unique<Graph>(device_, graph);
}

}  // namespace deepwell::cuda
