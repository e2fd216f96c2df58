// SPDX-License-Identifier: MIT
// A batch of labelled samples as models see it, and one pass over the layers of a model.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include <rubato/core/shared_buffer.hpp>

namespace rubato::problem {

/// Neighbouring samples in the backend's memory; their mean is taken over `total`, of which they may be only a part.
template<class T>
struct sample_rows {
  T const* features = nullptr;  ///< count x width, row-major
  std::int32_t const* labels = nullptr;
  T const* ones = nullptr;  ///< count of them: a sum over rows is a product with these
  std::size_t count = 0;
  std::size_t total = 0;
};

/// One pass over the layers of a model: its batch, and what each layer made of it.
template<class T>
struct layer_pass {
  writable_buffer<T> features{};  ///< of `rows`, if the pass has drawn them itself
  writable_buffer<std::int32_t> labels{};
  sample_rows<T> rows{};
  std::vector<writable_buffer<T>> values{};  ///< by layer: what it made; from the end on, slopes of the loss
  double loss = 0;  ///< once all layers were passed; NaN on a device
};

}  // namespace rubato::problem
