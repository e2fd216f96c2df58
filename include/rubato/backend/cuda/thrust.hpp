// SPDX-License-Identifier: MIT
// backend::thrust on a CUDA device, for files that nvcc compiles (empty elsewhere); include rubato/backend/thrust.hpp.
// Everything that copies of one backend do is enqueued on one stream, in the order of the calls. So a vector that went
// back to the pool is written again only after all that was enqueued to read it, without an event for each.
#pragma once

#if defined(__CUDACC__)

#include <cuda_runtime_api.h>

#include <array>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <thrust/functional.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/system/cuda/execution_policy.h>
#include <thrust/system_error.h>
#include <thrust/transform_reduce.h>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/detail/cublas.hpp>
#include <rubato/backend/detail/launch_arguments.hpp>
#include <rubato/core/errors.hpp>

namespace rubato::backend {

namespace detail::inline RUBATO_CUDA_PRODUCTS {

/// Throws where a call to CUDA failed, with the call's name and CUDA's own words.
inline void expect_cuda(cudaError_t status, char const* call) {
  if (status == cudaSuccess) return;
  throw backend_error{std::string{call} + " failed: " + cudaGetErrorString(status)};
}

/// One device and the stream on which a backend and its copies work.
class cuda_stream {
 public:
  /// Throws config_error where there is no such device.
  explicit cuda_stream(int device) : device_{device} {
    int devices = 0;
    auto const status = cudaGetDeviceCount(&devices);
    if (status != cudaSuccess || devices == 0) {
      throw config_error{"backend::thrust on system::cuda needs a CUDA device, and there is none here (" +
                         std::string{cudaGetErrorString(status == cudaSuccess ? cudaErrorNoDevice : status)} + ")"};
    }
    if (device < 0 || device >= devices) {
      throw config_error{"there is no CUDA device " + std::to_string(device) + "; give one of 0 to " +
                         std::to_string(devices - 1)};
    }
    enter();
    int processors = 0;
    expect_cuda(cudaDeviceGetAttribute(&processors, cudaDevAttrMultiProcessorCount, device), "cudaDeviceGetAttribute");
    blocks_ = 8U * static_cast<unsigned>(processors);
    cudaStream_t fresh = nullptr;
    expect_cuda(cudaStreamCreateWithFlags(&fresh, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    stream_.reset(fresh);
#if defined(RUBATO_CUBLAS)
    products_ = std::make_unique<cublas>(stream());
#endif
  }
  cuda_stream(cuda_stream const&) = delete;
  auto operator=(cuda_stream const&) -> cuda_stream& = delete;

  /// Which device calls mean is a property of each thread.
  void enter() const { expect_cuda(cudaSetDevice(device_), "cudaSetDevice"); }
  void wait() const { expect_cuda(cudaStreamSynchronize(stream()), "cudaStreamSynchronize"); }
  void copy(void const* from, void* to, std::size_t bytes, cudaMemcpyKind kind) const {
    if (bytes > 0) expect_cuda(cudaMemcpyAsync(to, from, bytes, kind, stream()), "cudaMemcpyAsync");
  }
  [[nodiscard]] auto device() const -> int { return device_; }
  [[nodiscard]] auto stream() const -> cudaStream_t { return stream_.get(); }
  /// Blocks of a launch that fill the device.
  [[nodiscard]] auto blocks() const -> unsigned { return blocks_; }
#if defined(RUBATO_CUBLAS)
  [[nodiscard]] auto products() const -> cublas& { return *products_; }
#endif

 private:
  int device_;
  unsigned blocks_ = 0;
  // Nobody is left to tell of an error then, and what is enqueued still runs to its end.
  struct destroyed {
    void operator()(cudaStream_t stream) const { static_cast<void>(cudaStreamDestroy(stream)); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaStream_t>, destroyed> stream_;
#if defined(RUBATO_CUBLAS)
  std::unique_ptr<cublas> products_;  // on that stream
#endif
};

/// Host memory that a device copies from and to at full speed.
class pinned_memory final : public memory_source {
 public:
  explicit pinned_memory(std::shared_ptr<cuda_stream> on) : on_{std::move(on)} {}
  auto allocate(std::size_t bytes) -> std::byte* override {
    on_->enter();
    void* at = nullptr;
    auto const status = cudaHostAlloc(&at, bytes, cudaHostAllocPortable);
    if (status == cudaErrorMemoryAllocation) throw std::bad_alloc{};
    expect_cuda(status, "cudaHostAlloc");
    return static_cast<std::byte*>(at);
  }
  void release(std::byte* at, std::size_t) noexcept override { static_cast<void>(cudaFreeHost(at)); }

 private:
  std::shared_ptr<cuda_stream> on_;
};

/// Plain device memory; the pool above it recycles it, so cudaMalloc runs only while a run warms up. cudaFree waits for
/// the device, so nothing is taken from what was enqueued.
class device_memory final : public memory_source {
 public:
  explicit device_memory(std::shared_ptr<cuda_stream> on) : on_{std::move(on)} {}
  auto allocate(std::size_t bytes) -> std::byte* override {
    on_->enter();
    void* at = nullptr;
    auto const status = cudaMalloc(&at, bytes);
    if (status == cudaErrorMemoryAllocation) {
      static_cast<void>(cudaGetLastError());  // not to be found again by the next launch
      throw std::bad_alloc{};
    }
    expect_cuda(status, "cudaMalloc");
    return static_cast<std::byte*>(at);
  }
  void release(std::byte* at, std::size_t) noexcept override { static_cast<void>(cudaFree(at)); }

  [[nodiscard]] auto is_on_host() const -> bool override { return false; }
  void copy_to_host(std::byte const* from, std::byte* to, std::size_t bytes) override {
    on_->enter();
    on_->copy(from, to, bytes, cudaMemcpyDeviceToHost);
    on_->wait();
  }
  void copy_from_host(std::byte const* from, std::byte* to, std::size_t bytes) override {
    on_->enter();
    on_->copy(from, to, bytes, cudaMemcpyHostToDevice);
    on_->wait();  // the host may write over `from` once this returns
  }
  [[nodiscard]] auto host_side() const -> std::shared_ptr<memory_source> override {
    return std::make_shared<pinned_memory>(on_);
  }

 private:
  std::shared_ptr<cuda_stream> on_;
};

/// A moment of a stream.
class cuda_mark {
 public:
  void set(cuda_stream const& on) {
    if (!event_) {
      cudaEvent_t fresh = nullptr;
      expect_cuda(cudaEventCreateWithFlags(&fresh, cudaEventDisableTiming), "cudaEventCreateWithFlags");
      event_.reset(fresh);
    }
    expect_cuda(cudaEventRecord(event_.get(), on.stream()), "cudaEventRecord");
  }
  /// Waits until the stream has come to where this was set, if it ever was.
  void wait() const {
    if (event_) expect_cuda(cudaEventSynchronize(event_.get()), "cudaEventSynchronize");
  }

 private:
  struct destroyed {
    void operator()(cudaEvent_t event) const { static_cast<void>(cudaEventDestroy(event)); }
  };
  std::unique_ptr<std::remove_pointer_t<cudaEvent_t>, destroyed> event_;
};

/// Thrust's scratch memory, from the backend's own pool: recycled, and ordered as everything on its stream is.
class scratch_allocator {
 public:
  using value_type = char;
  explicit scratch_allocator(buffer_pool pool) : pool_{std::move(pool)} {}
  auto allocate(std::ptrdiff_t bytes) -> char* {
    held_.push_back(pool_.allocate<std::byte>(static_cast<std::size_t>(bytes)));
    return reinterpret_cast<char*>(held_.back().data());
  }
  void deallocate(char* at, std::size_t) {
    std::erase_if(held_, [&](auto const& each) { return reinterpret_cast<char const*>(each.data()) == at; });
  }

 private:
  buffer_pool pool_;
  std::vector<writable_buffer<std::byte>> held_;
};

inline constexpr unsigned threads_a_block = 256;

/// Every index once, a block's threads side by side. The union of the bits raised goes into *raised, where that is
/// asked. `along`: the kernel's tables, read where the launch put them.
template<class T, class Kernel>
__global__ void sweep_on_device(range all, Kernel kernel, flag_bits* raised,
                                __grid_constant__ launch_arguments const along) {
  argument_lanes<T> at{0, along};
  auto const step = std::size_t{gridDim.x} * blockDim.x;
  for (auto i = all.begin + std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; i < all.end; i += step) {
    at.move_to(i);
    kernel(at);
  }
  if (raised == nullptr) return;
  auto bits = at.raised();
  for (unsigned half = 16; half > 0; half /= 2) bits |= __shfl_xor_sync(0xFFFFFFFFU, bits, half);
  if (threadIdx.x % 32 == 0 && bits != 0) atomicOr(raised, bits);
}

/// Where cuBLAS is not linked: one value of C a thread, neighbouring columns side by side, and no tiles.
template<class T>
__global__ void multiply_on_device(product_shape s, T alpha, T const* a, T const* b, T beta, T* c) {
  auto const step = std::size_t{gridDim.x} * blockDim.x;
  for (auto e = std::size_t{blockIdx.x} * blockDim.x + threadIdx.x; e < s.rows * s.columns; e += step) {
    auto const i = e / s.columns, j = e % s.columns;
    T sum = 0;
    for (std::size_t k = 0; k < s.inner; ++k) {
      auto const left = s.a == transposed::yes ? a[k * s.rows + i] : a[i * s.inner + k];
      auto const right = s.b == transposed::yes ? b[j * s.inner + k] : b[k * s.columns + j];
      sum += left * right;
    }
    c[e] = beta == T{0} ? alpha * sum : alpha * sum + beta * c[e];
  }
}

template<class T>
struct product_at {
  T const* x;
  T const* y;
  __host__ __device__ auto operator()(std::ptrdiff_t i) const -> double {
    return static_cast<double>(x[i]) * static_cast<double>(y[i]);
  }
};

}  // namespace detail::inline RUBATO_CUDA_PRODUCTS

/// Vectors in a device's memory. A cheap handle: copies share one pool and one stream.
/// A sweep is one launch and returns before it ran, unless its kernel may raise bits: then they are copied out behind
/// it and waited for (about 10 us). dot, and every look from the host, wait too. Bodies pass between nodes of one
/// device as they are; the host sees them through shared_buffer::on_host, in pinned memory. Errors: config_error from
/// the constructors, backend_error from everything else, std::bad_alloc where memory is short.
/// Products are cuBLAS's where RUBATO_CUBLAS is defined and cublas linked; else plain loops that are right and slow.
/// Problems that are host code run on OnHost, a backend that is made from the pool of pinned memory: eigen<T> where
/// rubato/backend/eigen.hpp is included, or by default (void) thrust<T, system::cpp>, which needs no library.
/// **Thread safety:** distinct copies may be used from different threads. **Models:** array_backend, has_host_twin.
/// **Determinism:** run to run on one device: a sweep is element by element, and CUB's reduction has a fixed order.
template<std::floating_point T, class OnHost>
class thrust<T, system::cuda, OnHost> {
  using twin = std::conditional_t<std::is_void_v<OnHost>, thrust<T, system::cpp>, OnHost>;

 public:
  using scalar = T;
  static constexpr auto level = determinism::run_to_run;
  static constexpr auto name() -> std::string_view { return system::cuda::name(); }

  thrust() : thrust{0} {}
  /// Throws config_error where there is no such device.
  explicit thrust(int device)
      : on_{std::make_shared<detail::cuda_stream>(device)}, pool_{std::make_shared<detail::device_memory>(on_)} {}

  template<class U>
  [[nodiscard]] auto allocate(std::size_t n) -> writable_buffer<U> {
    return pool_.allocate<U>(n);
  }
  [[nodiscard]] auto pool() const -> buffer_pool const& { return pool_; }
  /// For code that runs on the host, on pinned memory.
  [[nodiscard]] auto host_twin() const -> twin { return twin{pool_.host_side()}; }

  template<class Kernel>
  auto sweep(range r, Kernel const& kernel) -> flag_bits {
    flag_bits raised = 0;
    if (!r.empty()) {
      on_->enter();
      if constexpr (may_raise<Kernel>) raised = sweep_and_ask(r, kernel);
      else launch(r, kernel, nullptr);
    }
    own_.along.clear();
    own_.tables.clear();  // read by what was enqueued before anything that may take their place
    return raised;
  }

  /// The next sweep takes a copy along. Where it has no room, a copy on the device is enqueued, which lives until that
  /// sweep is. CUDA reads so few bytes before the call returns, and waits for nothing.
  template<class Entry>
  [[nodiscard]] auto table(Entry const* entries, std::size_t n) -> backend::table<Entry> {
    if (auto const placed = own_.along.place(entries, n)) return *placed;
    on_->enter();
    auto& copy = own_.tables.emplace_back(pool_.allocate<std::byte>(n * sizeof(Entry)));
    on_->copy(entries, copy.data(), n * sizeof(Entry), cudaMemcpyHostToDevice);
    return {reinterpret_cast<Entry const*>(copy.data()), n};
  }

  /// Sum of x_i y_i in double; waits for it.
  [[nodiscard]] auto dot(T const* x, T const* y, std::size_t n) const -> double {
    on_->enter();
    auto scratch = detail::scratch_allocator{pool_};
    auto const first = ::thrust::counting_iterator<std::ptrdiff_t>{0};
    try {
      return ::thrust::transform_reduce(::thrust::cuda::par_nosync(scratch).on(on_->stream()), first,
                                        first + static_cast<std::ptrdiff_t>(n), detail::product_at<T>{x, y}, 0.0,
                                        ::thrust::plus<double>{});
    } catch (::thrust::system_error const& e) {
      throw backend_error{std::string{"thrust::transform_reduce failed: "} + e.what()};
    }
  }

  void multiply(product_shape s, T alpha, T const* a, T const* b, T beta, T* c) const {
    if (s.rows == 0 || s.columns == 0) return;
    on_->enter();
#if defined(RUBATO_CUBLAS)
    if (s.inner > 0) return on_->products().multiply(s, alpha, a, b, beta, c);
#endif
    detail::multiply_on_device<T>
        <<<blocks_for(s.rows * s.columns), detail::threads_a_block, 0, on_->stream()>>>(s, alpha, a, b, beta, c);
    detail::expect_cuda(cudaGetLastError(), "the launch of multiply_on_device");
  }

  /// Waits until all is done that was enqueued before this handle's call two calls ago (backend::runs_behind).
  void hold_back() {
    on_->enter();
    own_.marks[0].wait();
    std::swap(own_.marks[0], own_.marks[1]);
    own_.marks[1].set(*on_);
  }
  /// Waits until all that was enqueued is done; for measurements.
  void wait() const {
    on_->enter();
    on_->wait();
  }
  [[nodiscard]] auto stream() const -> cudaStream_t { return on_->stream(); }

 private:
  /// What each handle has for itself, so that handles may work on different threads: its copies begin anew.
  struct own_memory {
    own_memory() = default;
    own_memory(own_memory const&) noexcept {}
    own_memory(own_memory&&) noexcept = default;
    auto operator=(own_memory const&) noexcept -> own_memory& { return *this; }
    auto operator=(own_memory&&) noexcept -> own_memory& = default;
    ~own_memory() = default;
    writable_buffer<std::int32_t> raised;  // on the device
    writable_buffer<std::int32_t> host_raised;  // pinned
    detail::argument_tables along;
    std::vector<writable_buffer<std::byte>> tables;  // of the next sweep
    std::array<detail::cuda_mark, 2> marks;  // the older one first
  };

  [[nodiscard]] auto blocks_for(std::size_t n) const -> unsigned {
    auto const needed = (n + detail::threads_a_block - 1) / detail::threads_a_block;
    return needed < on_->blocks() ? static_cast<unsigned>(needed) : on_->blocks();
  }

  template<class Kernel>
  void launch(range r, Kernel const& kernel, flag_bits* raised) {
    static_assert(std::is_trivially_copyable_v<Kernel>);
    detail::sweep_on_device<T>
        <<<blocks_for(r.size()), detail::threads_a_block, 0, on_->stream()>>>(r, kernel, raised, own_.along.all());
    detail::expect_cuda(cudaGetLastError(), "the launch of sweep_on_device");
  }

  template<class Kernel>
  auto sweep_and_ask(range r, Kernel const& kernel) -> flag_bits {
    if (!own_.raised) {
      own_.raised = pool_.allocate<std::int32_t>(1);
      own_.host_raised = pool_.host_side().template allocate<std::int32_t>(1);
    }
    detail::expect_cuda(cudaMemsetAsync(own_.raised.data(), 0, sizeof(flag_bits), on_->stream()), "cudaMemsetAsync");
    launch(r, kernel, reinterpret_cast<flag_bits*>(own_.raised.data()));
    on_->copy(own_.raised.data(), own_.host_raised.data(), sizeof(flag_bits), cudaMemcpyDeviceToHost);
    on_->wait();
    return static_cast<flag_bits>(*own_.host_raised.data());
  }

  std::shared_ptr<detail::cuda_stream> on_;
  buffer_pool pool_;
  own_memory own_;
};

}  // namespace rubato::backend

#endif  // nvcc
