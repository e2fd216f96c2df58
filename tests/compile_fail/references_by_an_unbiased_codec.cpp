// SPDX-License-Identifier: MIT
// BEER's references move by whole differences, which an unbiased codec may overshoot; those of c_gt by a part.
// illegal: beer
// legal:   c_gt
// error:   references need a contractive codec: use codec::damped round an unbiased one
#include <rubato/algorithm/beer.hpp>
#include <rubato/algorithm/c_gt.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/qsgd.hpp>

template class rubato::SUBJECT<rubato::backend::host<double>, rubato::codec::qsgd>;
