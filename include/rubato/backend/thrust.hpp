// SPDX-License-Identifier: MIT
// Vectors computed on through Thrust: on the host one after the other (cpp), by OpenMP's threads (omp) or by TBB's
// (tbb), and on a CUDA device where nvcc compiles. Of rubato's headers only those called thrust.hpp include Thrust's,
// which wants THRUST_DEVICE_SYSTEM defined; the CMake target rubato::thrust does that and brings what the systems need.
#pragma once

#include <concepts>
#include <cstddef>
#include <string_view>
#include <type_traits>
#include <utility>

#if !defined(THRUST_DEVICE_SYSTEM) && !defined(__CUDACC__)
#error "define THRUST_DEVICE_SYSTEM=THRUST_DEVICE_SYSTEM_CPP for backend/thrust.hpp, or link rubato::thrust, which does"
#endif

#include <thrust/for_each.h>
#include <thrust/functional.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/system/cpp/execution_policy.h>
#include <thrust/transform.h>
#include <thrust/transform_reduce.h>
#if defined(_OPENMP)
#include <thrust/system/omp/execution_policy.h>
#endif
#if defined(RUBATO_THRUST_TBB)
#include <thrust/system/tbb/execution_policy.h>
#endif

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/detail/vector_products.hpp>
#include <rubato/backend/vector_sweep.hpp>

namespace rubato::backend {

/// Where a thrust backend computes. The compilation of a file decides only which of them have a policy (below): the
/// types are the same in all files of a program.
namespace system {

/// The calling thread.
struct cpp {
  static constexpr auto name() -> std::string_view { return "thrust_cpp"; }
};

/// OpenMP's threads; needs -fopenmp. OMP_NUM_THREADS and OMP_WAIT_POLICY are the user's to set.
struct omp {
  static constexpr auto name() -> std::string_view { return "thrust_omp"; }
};

/// TBB's threads; needs RUBATO_THRUST_TBB defined, and the library.
struct tbb {
  static constexpr auto name() -> std::string_view { return "thrust_tbb"; }
};

// Files that are compiled with and without cuBLAS have other types, so one program may have both.
#if defined(RUBATO_CUBLAS)
#define RUBATO_CUDA_PRODUCTS by_cublas
#else
#define RUBATO_CUDA_PRODUCTS by_loops
#endif
inline namespace RUBATO_CUDA_PRODUCTS {
/// A CUDA device; needs nvcc, and rubato/backend/cuda/thrust.hpp, which nvcc gets from here: a specialisation of its
/// own.
struct cuda {
  static constexpr auto name() -> std::string_view { return "thrust_cuda"; }
};
}  // namespace RUBATO_CUDA_PRODUCTS

inline auto policy_of(cpp) { return ::thrust::cpp::par; }
#if defined(_OPENMP)
inline auto policy_of(omp) { return ::thrust::omp::par; }
#endif
#if defined(RUBATO_THRUST_TBB)
inline auto policy_of(tbb) { return ::thrust::tbb::par; }
#endif

/// Whether this file is compiled for it.
template<class System>
concept is_here = requires(System s) { policy_of(s); };

}  // namespace system

/// Data of one call above which it is handed to the system's threads: below, waking them takes longer than the work.
inline constexpr std::size_t default_parallel_bytes = std::size_t{8} << 20;

/// Sizes above which a call counts as large, in bytes of its data.
struct thrust_thresholds {
  std::size_t streaming_bytes = default_streaming_bytes;  ///< stores bypass the caches
  std::size_t parallel_bytes = default_parallel_bytes;  ///< all threads of the system work
};

namespace detail {

/// Values that one thread takes at once: 64 KiB of floats, a multiple of what keeps streaming stores aligned.
inline constexpr std::size_t chunk_values = 16384;

inline auto chunk_of(range all, std::size_t k) -> range {
  auto const begin = all.begin + k * chunk_values;
  return {begin, all.end - begin < chunk_values ? all.end : begin + chunk_values};
}

/// The bits that one chunk flags.
template<class T, class Kernel>
struct chunk_sweep {
  range all;
  Kernel kernel;
  std::size_t streaming_bytes;
  auto operator()(std::ptrdiff_t k) const -> flag_bits {
    auto const local =
        kernel;  // a local copy; otherwise the compiler must assume that every store may change the kernel
    return vector_sweep<T>(chunk_of(all, static_cast<std::size_t>(k)), local, streaming_bytes);
  }
};

/// A function of an index does not say what it moves: a value that is read and one that is written, at least.
template<class T, class Kernel>
auto bytes_per_value_of(Kernel const& kernel) -> std::size_t {
  if constexpr (runs_by_index<Kernel>) return 2 * sizeof(T);
  else return kernel.bytes_per_value();
}

template<class T>
struct chunk_dot {
  T const* x;
  T const* y;
  range all;
  auto operator()(std::ptrdiff_t k) const -> double {
    return vector_dot(x, y, chunk_of(all, static_cast<std::size_t>(k)));
  }
};

/// A group of rows of C.
template<class T>
struct chunk_product {
  product_operands<T> of;
  std::size_t rows;
  void operator()(std::ptrdiff_t k) const {
    auto const begin = static_cast<std::size_t>(k) * rows;
    multiply_rows(of, {begin, of.shape.rows - begin < rows ? of.shape.rows : begin + rows});
  }
};

}  // namespace detail

/// Vectors in ordinary memory, cut into chunks that Thrust deals out in one launch a call; within a chunk, hardware
/// vectors and streaming stores as in vector_sweep. A cheap handle: copies share one pool.
/// **Thread safety:** distinct copies may be used from different threads. **Models:** array_backend.
/// **Determinism:** run to run, same binary, whatever the number of threads: a sweep is element by element, and partial
/// sums of a dot product are added in the order of the chunks.
/// `OnHost`: only on a device; see rubato/backend/cuda/thrust.hpp.
template<std::floating_point T, class System = system::cpp, class OnHost = void>
class thrust {
  static_assert(std::is_void_v<OnHost>,
                "this system of Thrust works on the host, so that it takes no other backend for "
                "host code; only system::cuda does");
  static_assert(
      system::is_here<System>,
      "this system of Thrust cannot be compiled here: omp needs -fopenmp, tbb needs RUBATO_THRUST_TBB and its "
      "library, cuda needs nvcc; the CMake target rubato::thrust brings what was found");

 public:
  using scalar = T;
  static constexpr auto level = determinism::run_to_run;
  static constexpr auto name() -> std::string_view { return System::name(); }

  thrust() = default;
  explicit thrust(buffer_pool pool, thrust_thresholds large = {}) : pool_{std::move(pool)}, large_{large} {}

  template<class U>
  [[nodiscard]] auto allocate(std::size_t n) -> writable_buffer<U> {
    return pool_.allocate<U>(n);
  }
  [[nodiscard]] auto pool() const -> buffer_pool const& { return pool_; }

  template<class Kernel>
  auto sweep(range r, Kernel const& kernel) -> flag_bits {
    auto const bytes = r.size() * detail::bytes_per_value_of<T>(kernel);
    if (!is_parallel(r, bytes)) return vector_sweep<T>(r, kernel, large_.streaming_bytes);
    // The size of all chunks together decides how each of them stores.
    auto const streaming_bytes = bytes > large_.streaming_bytes ? 0 : ~std::size_t{0};
    return ::thrust::transform_reduce(policy_of(System{}), first(), first() + chunks_of(r),
                                      detail::chunk_sweep<T, Kernel>{r, kernel, streaming_bytes}, flag_bits{0},
                                      ::thrust::bit_or<flag_bits>{});
  }

  template<class Entry>
  [[nodiscard]] auto table(Entry const* entries, std::size_t n) const -> backend::table<Entry> {
    return {entries, n};
  }

  /// Within a chunk in T by lanes, over chunks in double.
  [[nodiscard]] auto dot(T const* x, T const* y, std::size_t n) const -> double {
    auto const all = range{0, n};
    auto const bytes = 2 * n * sizeof(T);
    auto const part = detail::chunk_dot<T>{x, y, all};
    auto const chunks = chunks_of(all);
    double sum = 0;
    if (!is_parallel(all, bytes)) {
      for (std::ptrdiff_t k = 0; k < chunks; ++k) sum += part(k);
      return sum;
    }
    auto memory = pool_;  // a handle; only allocating changes the pool
    auto partial = memory.template allocate<double>(static_cast<std::size_t>(chunks));
    ::thrust::transform(policy_of(System{}), first(), first() + chunks, partial.data(), part);
    for (auto const value : partial.view()) sum += value;
    return sum;
  }

  void multiply(product_shape s, T alpha, T const* a, T const* b, T beta, T* c) const {
    if (s.rows == 0 || s.columns == 0) return;
    writable_buffer<T> left;
    if (s.a == transposed::yes) {
      auto memory = pool_;
      left = memory.template allocate<T>(s.rows * s.inner);
      for (std::size_t k = 0; k < s.inner; ++k) {
        for (std::size_t i = 0; i < s.rows; ++i) left.data()[i * s.inner + k] = a[k * s.rows + i];
      }
    }
    auto const of = detail::product_operands<T>{s, alpha, left ? left.data() : a, b, beta, c};
    auto const work = s.rows * s.columns * s.inner * sizeof(T);
    if (work <= large_.parallel_bytes) {
      detail::multiply_rows(of, {0, s.rows});
      return;
    }
    // Groups of rows: enough for all threads, few enough that a tile of B serves many of them.
    auto const rows = s.rows < 64 ? std::size_t{1} : std::size_t{16};
    auto const groups = static_cast<std::ptrdiff_t>((s.rows + rows - 1) / rows);
    ::thrust::for_each(policy_of(System{}), first(), first() + groups, detail::chunk_product<T>{of, rows});
  }

 private:
  [[nodiscard]] auto is_parallel(range r, std::size_t bytes) const -> bool {
    return bytes > large_.parallel_bytes && r.size() > detail::chunk_values;
  }
  static auto chunks_of(range r) -> std::ptrdiff_t {
    return static_cast<std::ptrdiff_t>((r.size() + detail::chunk_values - 1) / detail::chunk_values);
  }
  static auto first() { return ::thrust::counting_iterator<std::ptrdiff_t>{0}; }

  buffer_pool pool_;
  thrust_thresholds large_;
};

}  // namespace rubato::backend

#if defined(__CUDACC__)
#include <rubato/backend/cuda/thrust.hpp>
#endif
