// Zeroed memory that costs only what is touched: large arrays come from the system page by page.
#pragma once

#include <sys/mman.h>

#include <cstddef>
#include <cstdlib>
#include <new>
#include <utility>

namespace deepwell::emu {

/// Of elements whose zero is all bits zero.
template <class T>
class LazyArray {
 public:
  LazyArray() = default;
  explicit LazyArray(std::size_t size) : size_(size) {
    if (size == 0) return;
    if (size > static_cast<std::size_t>(-1) / 2 / sizeof(T)) throw std::bad_alloc();
    void* got = nullptr;
    if (is_mapped()) {
      got = mmap(nullptr, size * sizeof(T), PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
      if (got == MAP_FAILED) got = nullptr;
    } else {
      got = std::calloc(size, sizeof(T));
    }
    if (got == nullptr) throw std::bad_alloc();
    data_ = static_cast<T*>(got);
  }
  ~LazyArray() {
    if (data_ == nullptr) return;
    if (is_mapped()) {
      munmap(data_, size_ * sizeof(T));
    } else {
      std::free(data_);
    }
  }
  LazyArray(LazyArray&& other) noexcept
      : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
  LazyArray& operator=(LazyArray&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
  }

  T* data() { return data_; }
  T const* data() const { return data_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }

 private:
  bool is_mapped() const { return size_ * sizeof(T) >= 256 * 1024; }

  T* data_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace deepwell::emu
