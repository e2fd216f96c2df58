// SPDX-License-Identifier: MIT
// LEAD has no theory for codecs that drop most of a vector; beer and c_gt do.
// illegal: lead
// legal:   c_gt
// error:   a codec that drops most of a vector diverges or moves the limit if nothing sends the rest later
#include <rubato/algorithm/c_gt.hpp>
#include <rubato/algorithm/lead.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/codec/top_k.hpp>

template class rubato::SUBJECT<rubato::backend::host<double>, rubato::codec::top_k>;
