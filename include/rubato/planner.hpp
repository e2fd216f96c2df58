// SPDX-License-Identifier: MIT
// What a run will cost, before it runs: all of rubato/planner/.
#pragma once

#include <rubato/planner/useful_workers.hpp>
