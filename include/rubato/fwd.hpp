// SPDX-License-Identifier: MIT
// Declares the node types that are classes, and says their default policies: here, and nowhere else. For headers of
// your own that name node types and need not know them. (Names that compose another node type are aliases, each in its
// file; low_precision_d_psgd, lead, beer, c_gt, dcd_sgd and qadam, whose default codecs are, are declared there too.)
#pragma once

#include <cstddef>
#include <type_traits>

#include <rubato/backend/concepts.hpp>

namespace rubato {

namespace step {
struct sgd;
}
namespace weighting {
struct constant;
}
namespace synchrony {
struct free;
}
namespace firing {
struct poisson;
}
namespace ledger {
struct fixed_point;
struct floating;
}  // namespace ledger
namespace contribution {
struct all;
}
namespace partner {
struct uniform;
}
namespace prox {
struct l1;
}
namespace outer {
struct mean;
struct nesterov;
struct pair_momentum;
}  // namespace outer
namespace rhythm {
struct steady;
}
namespace merge {
struct all_reduce;
}
namespace server {
struct accept_all;
struct apply_at_once;
struct same_worker;
}  // namespace server
namespace codec {
struct identity;
struct sign_scale;
}  // namespace codec

namespace detail {
/// Exact where that is cheap: fixed-point for float, plain for double.
template<class T>
using default_ledger = std::conditional_t<std::is_same_v<T, float>, ledger::fixed_point, ledger::floating>;
}  // namespace detail

template<backend::array_backend Backend, class Step = step::sgd, class Partner = partner::uniform>
class a2cid2;

template<backend::array_backend Backend, class Step = step::sgd, class Partner = partner::uniform>
class ad_psgd;

template<backend::array_backend Backend, class Step = step::sgd, class Weighting = weighting::constant,
         class Ledger = detail::default_ledger<typename Backend::scalar>, class SumCodec = codec::identity>
class asy_sonata;

template<backend::array_backend Backend, class Step = step::sgd>
class async_dgd_atc;

template<backend::array_backend Backend, class Codec = codec::identity, class Step = step::sgd>
class async_model_average;

template<backend::array_backend Backend, class Step = step::sgd, class Partner = partner::uniform>
class bipartite_ad_psgd;

template<backend::array_backend Backend, class Codec = codec::identity, class Step = step::sgd>
class bucketed_allreduce_sgd;

template<backend::array_backend Backend, class Codec = codec::sign_scale, class Step = step::sgd>
class choco_sgd;

template<backend::array_backend Backend, class Step = step::sgd, class Contribution = contribution::all>
class d_psgd;

template<backend::array_backend Backend, class Step = step::sgd, class Contribution = contribution::all>
class d_psgd_atc;

template<backend::array_backend Backend, class Codec = codec::sign_scale, class Step = step::sgd>
class deepsqueeze;

template<backend::array_backend Backend, class Step = step::sgd, class Firing = firing::poisson>
class delayed_randomized_gossip;

template<backend::array_backend Backend, class Step = step::sgd,
         class Ledger = detail::default_ledger<typename Backend::scalar>>
class dsgt;

template<backend::array_backend Backend, class Step = step::sgd>
class extra;

template<backend::array_backend Backend, class Order, class Step = step::sgd, class Weighting = weighting::constant,
         class Synchrony = synchrony::free, class Ledger = ledger::floating, class SumCodec = codec::identity,
         class Contribution = contribution::all>
class gossip;

template<backend::array_backend Backend, class Outer = outer::mean, class Rhythm = rhythm::steady,
         class Codec = codec::identity, class Step = step::sgd, class Merge = merge::all_reduce>
class local_sgd;

template<backend::array_backend Backend, class Step = step::sgd>
class m_synchronous_sgd;

template<backend::array_backend Backend, class Step = step::sgd, class Contribution = contribution::all>
class matcha;

template<backend::array_backend Backend, class Step = step::sgd>
class mindflayer;

template<backend::array_backend Backend, class Outer = outer::pair_momentum, class Step = step::sgd>
class noloco;

template<backend::array_backend Backend, class Step = step::sgd>
class osgp;

template<backend::array_backend Backend, class Step = step::sgd>
class power_sgd;

template<backend::array_backend Backend, class Prox = prox::l1, class Step = step::sgd>
class prox_dgd;

template<backend::array_backend Backend, class Step = step::sgd,
         class Ledger = detail::default_ledger<typename Backend::scalar>>
class push_diging;

template<backend::array_backend Backend, class Step = step::sgd,
         class Ledger = detail::default_ledger<typename Backend::scalar>>
class push_pull;

template<backend::array_backend Backend, class Step = step::sgd, class Weighting = weighting::constant,
         class Ledger = detail::default_ledger<typename Backend::scalar>, class SumCodec = codec::identity>
class r_fast;

template<backend::array_backend Backend, class Step = step::sgd, class Contribution = contribution::all>
class ring_allreduce_sgd;

template<backend::array_backend Backend, class Step = step::sgd,
         class Ledger = detail::default_ledger<typename Backend::scalar>>
class s_ab;

template<backend::array_backend Backend, class Codec = codec::identity, class Step = step::sgd>
class scatter_allreduce_sgd;

template<backend::array_backend Backend, class Acceptance = server::accept_all, class Weight = weighting::constant,
         class Aggregation = server::apply_at_once, class Assignment = server::same_worker, class Step = step::sgd>
class server_sgd;

template<backend::array_backend Backend, class Outer = outer::nesterov>
class quorum_diloco;

template<backend::array_backend Backend, class Step = step::sgd>
class rasgp;

template<backend::array_backend Backend, class Step = step::sgd>
class sgp;

}  // namespace rubato
