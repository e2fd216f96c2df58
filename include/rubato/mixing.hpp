// SPDX-License-Identifier: MIT
// Weights on graphs, what follows from them, and each node's share: all of rubato/mixing/.
#pragma once

#include <rubato/mixing/base_graph.hpp>
#include <rubato/mixing/equi_topo.hpp>
#include <rubato/mixing/exchange_times.hpp>
#include <rubato/mixing/fastest.hpp>
#include <rubato/mixing/gain.hpp>
#include <rubato/mixing/matrix.hpp>
#include <rubato/mixing/members.hpp>
#include <rubato/mixing/named_rounds.hpp>
#include <rubato/mixing/neighbourhood.hpp>
#include <rubato/mixing/one_peer.hpp>
#include <rubato/mixing/pair_momentum.hpp>
#include <rubato/mixing/perron.hpp>
#include <rubato/mixing/plan.hpp>
#include <rubato/mixing/schedule.hpp>
#include <rubato/mixing/sides.hpp>
#include <rubato/mixing/spectral.hpp>
