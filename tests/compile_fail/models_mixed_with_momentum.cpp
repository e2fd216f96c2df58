// SPDX-License-Identifier: MIT
// A server that mixes models stays between those of its workers.
// illegal: momentum
// legal:   sgd
// error:   a server that mixes models takes a plain step
#include <rubato/algorithm/fedasync.hpp>
#include <rubato/backend/host.hpp>
#include <rubato/step/momentum.hpp>
#include <rubato/weighting/polynomial.hpp>

using rubato::backend::host, rubato::weighting::polynomial;
using subject = rubato::fedasync<host<double>, polynomial, rubato::step::SUBJECT>;
static_assert(sizeof(subject) > 0);
