// SPDX-License-Identifier: MIT
// DeepSqueeze feeds errors back, which grow without bound under an unbiased codec.
// illegal: qsgd
// legal:   damped<codec::qsgd>
// error:   error feedback needs a contractive codec
#include <rubato/algorithm/deepsqueeze.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/damped.hpp>
#include <rubato/codec/qsgd.hpp>

using namespace rubato;
template class rubato::deepsqueeze<backend::host<double>, codec::SUBJECT>;
