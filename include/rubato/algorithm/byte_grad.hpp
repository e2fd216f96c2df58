// SPDX-License-Identifier: MIT
// ByteGrad: synchronous SGD whose gradients travel in one byte per value: (C.S) to (C.X) of scatter_allreduce_sgd.hpp
// and scatter_mean.hpp with Q = codec/minmax_u8.hpp.   Source: BAGUA, arXiv 2107.01499, and its public code.
#pragma once

#include <rubato/algorithm/scatter_allreduce_sgd.hpp>
#include <rubato/codec/minmax_u8.hpp>
#include <rubato/step/sgd.hpp>

namespace rubato {

template<backend::array_backend Backend, class Step = step::sgd>
using byte_grad = scatter_allreduce_sgd<Backend, codec::minmax_u8, Step>;

}  // namespace rubato
