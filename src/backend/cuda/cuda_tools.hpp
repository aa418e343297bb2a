// Streams, events and graphs of a CUDA backend, for benches and tests. Operations never need them.
#pragma once

#include <cstddef>
#include <memory>

#include "backend/cuda/cuda_backend.hpp"

namespace deepwell::cuda {

/// The device behind `backend`; throws Error kBadArgument when that is not a CUDA backend.
std::shared_ptr<Device const> device_of(Backend& backend);

/// A stream that does not wait for the default stream.
class OwnedStream {
 public:
  explicit OwnedStream(std::shared_ptr<Device const> device);
  ~OwnedStream();
  OwnedStream(OwnedStream const&) = delete;
  OwnedStream& operator=(OwnedStream const&) = delete;
  Stream get() const { return stream_; }

 private:
  std::shared_ptr<Device const> device_;
  StreamHandle stream_ = nullptr;
};

class Event {
 public:
  explicit Event(std::shared_ptr<Device const> device);
  ~Event();
  Event(Event const&) = delete;
  Event& operator=(Event const&) = delete;

  void record(Stream stream);
  void synchronize();
  /// Work put on `stream` after this waits for the event.
  void wait_on(Stream stream);
  /// Seconds from this event to `end`; waits for `end`.
  double seconds_to(Event& end);

 private:
  std::shared_ptr<Device const> device_;
  EventHandle event_ = nullptr;
};

enum class CaptureMode { kGlobal, kThreadLocal, kRelaxed };

/// An executable graph.
class Graph {
 public:
  Graph(std::shared_ptr<Device const> device, GraphHandle graph);
  ~Graph();
  Graph(Graph const&) = delete;
  Graph& operator=(Graph const&) = delete;
  void launch(Stream stream);

 private:
  std::shared_ptr<Device const> device_;
  GraphHandle graph_ = nullptr;
  GraphExecHandle exec_ = nullptr;
};

/// Captures what is put on `stream` from construction to finish(). Abandoned without finish(), the capture is dropped.
class Capture {
 public:
  Capture(std::shared_ptr<Device const> device, Stream stream, CaptureMode mode = CaptureMode::kGlobal);
  ~Capture();
  Capture(Capture const&) = delete;
  Capture& operator=(Capture const&) = delete;
  std::unique_ptr<Graph> finish();

 private:
  std::shared_ptr<Device const> device_;
  StreamHandle stream_ = nullptr;
  bool active_ = false;
};

}  // namespace deepwell::cuda
