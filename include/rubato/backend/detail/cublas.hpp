// SPDX-License-Identifier: MIT
// Matrix products of backend::thrust on a CUDA device by cuBLAS, for files that nvcc compiles with RUBATO_CUBLAS
// defined and that link cublas (empty elsewhere).
#pragma once

#if defined(__CUDACC__) && defined(RUBATO_CUBLAS)

#include <cublas_v2.h>

#include <memory>
#include <string>
#include <type_traits>

#include <rubato/backend/concepts.hpp>
#include <rubato/backend/detail/column_major.hpp>
#include <rubato/core/errors.hpp>

namespace rubato::backend::detail {

inline void expect_cublas(cublasStatus_t status, char const* call) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  throw backend_error{std::string{call} + " failed: " + cublasGetStatusString(status)};
}

/// cuBLAS on one stream, whose products it enqueues in the order of the calls. It rounds as the stated type does
/// (cuBLAS's default: no shorter formats), and gives the same bits from run to run, since no other stream uses it.
/// **Thread safety:** all of it: threads that share a stream share this, as cuBLAS allows where nobody changes what a
/// handle is set to.
class cublas {
 public:
  /// The current device is that of the stream.
  explicit cublas(cudaStream_t on) {
    cublasHandle_t fresh = nullptr;
    expect_cublas(cublasCreate(&fresh), "cublasCreate");
    handle_.reset(fresh);
    expect_cublas(cublasSetStream(fresh, on), "cublasSetStream");
  }

  template<class T>
  void multiply(product_shape s, T alpha, T const* a, T const* b, T beta, T* c) {
    auto const g = as_column_major(s);
    auto const op = [](transposed t) { return t == transposed::yes ? CUBLAS_OP_T : CUBLAS_OP_N; };
    auto const first = op(g.first_op), second = op(g.second_op);
    if constexpr (sizeof(T) == sizeof(float)) {
      expect_cublas(cublasSgemm(handle_.get(), first, second, g.m, g.n, g.k, &alpha, b, g.first_stride, a,
                                g.second_stride, &beta, c, g.m),
                    "cublasSgemm");
    } else {
      expect_cublas(cublasDgemm(handle_.get(), first, second, g.m, g.n, g.k, &alpha, b, g.first_stride, a,
                                g.second_stride, &beta, c, g.m),
                    "cublasDgemm");
    }
  }

 private:
  struct destroyed {
    void operator()(cublasHandle_t handle) const { static_cast<void>(cublasDestroy(handle)); }
  };
  std::unique_ptr<std::remove_pointer_t<cublasHandle_t>, destroyed> handle_;
};

}  // namespace rubato::backend::detail

#endif  // nvcc and cuBLAS
