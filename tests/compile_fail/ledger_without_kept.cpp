// SPDX-License-Identifier: MIT
// A ledger that cannot say what stays of z after a push cannot conserve.
// illegal: forgetful
// legal:   careful
// error:   a ledger's arithmetic has quantise, add, sub, share, kept, direction and watch, for lanes of T
#include <rubato/algorithm/gossip.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/ledger/floating.hpp>

using rubato::ledger::floating;
struct careful : floating {};
struct forgetful : floating {
  template<class T>
  struct arithmetic : floating::arithmetic<T> {
    void kept() const {}
  };
  template<class T>
  auto arithmetic_for(std::size_t) const -> arithmetic<T> {
    return {};
  }
};

template class rubato::gossip<rubato::backend::host<double>, rubato::order::r_fast, rubato::step::sgd,
                              rubato::weighting::constant, rubato::synchrony::free, SUBJECT>;
