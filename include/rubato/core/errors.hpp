// SPDX-License-Identifier: MIT
// Errors of two kinds: config_error, thrown before a run starts, and broken contracts, which are bugs. What goes wrong
// in a node during a run is a value (core/outbox.hpp: fault, waiting). It is an exception only if a vector cannot be
// allocated or computed: std::bad_alloc, backend_error.
#pragma once

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <new>
#include <stdexcept>
#include <string>

#include <rubato/core/language.hpp>
#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ != 0)
#error "rubato recognises divergence by values that are not finite: compile without -ffast-math and its parts"
#endif

namespace rubato {

/// A run cannot be set up as asked; what() is one sentence that names the thing at fault and what would be right.
class config_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A run was set up and cannot go on (a fault of a node, a passed deadline, a throwing oracle); what() is one sentence.
class run_error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// The run of one node failed because of another node, which what() names: it died, never came, ended, has other
/// options or keeps this one waiting.
class peer_error : public run_error {
 public:
  using run_error::run_error;
};

/// A backend cannot go on (a device failed). It is thrown through handlers, which do not catch it.
class backend_error : public run_error {
 public:
  using run_error::run_error;
};

/// Calls `f`, which uses a node. What memory or the backend throws becomes a run_error that names the node and nests
/// the original.
template<class Call>
auto at_node(std::size_t node, Call&& call) -> decltype(call()) {
  try {
    return call();
  } catch (backend_error const& e) {
    std::throw_with_nested(run_error{"node " + std::to_string(node) + " cannot go on: " + e.what()});
  } catch (std::bad_alloc const&) {
    std::throw_with_nested(
        run_error{"node " + std::to_string(node) + " cannot go on: there is no memory left for its vectors"});
  }
}

/// Called with the condition, the sentence, the file and the line; must not return.
using contract_handler = void (*)(char const* condition, char const* sentence, char const* file, int line);

namespace detail {

[[noreturn]] inline void abort_on_broken_contract(char const* condition, char const* sentence, char const* file,
                                                  int line) {
  std::fprintf(stderr, "rubato: %s (%s does not hold at %s:%d)\n", sentence, condition, file, line);
  std::abort();
}

inline auto contract_handler_slot() -> contract_handler& {
  static contract_handler handler = &abort_on_broken_contract;
  return handler;
}

[[noreturn]] inline void broken_contract(char const* condition, char const* sentence, char const* file, int line) {
  contract_handler_slot()(condition, sentence, file, line);
  std::abort();
}

}  // namespace detail

/// Replaces what happens on a broken contract (default: print and abort) and returns the former handler.
/// Not thread-safe: set it before threads start. Tests install one that throws.
inline auto set_contract_handler(contract_handler handler) -> contract_handler {
  auto const former = detail::contract_handler_slot();
  detail::contract_handler_slot() = handler;
  return former;
}

}  // namespace rubato

/// A precondition of O(1); stays on in release builds.
#define RUBATO_EXPECTS(condition, sentence) \
  ((condition) ? static_cast<void>(0) : ::rubato::detail::broken_contract(#condition, sentence, __FILE__, __LINE__))
