// SPDX-License-Identifier: MIT
// What a run will cost, before it runs: all of rubato/planner/.
#pragma once

#include <rubato/planner/choice.hpp>
#include <rubato/planner/forecast.hpp>
#include <rubato/planner/pace.hpp>
#include <rubato/planner/peers.hpp>
#include <rubato/planner/rounds.hpp>
#include <rubato/planner/servers.hpp>
#include <rubato/planner/situation.hpp>
#include <rubato/planner/useful_workers.hpp>
