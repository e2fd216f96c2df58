// SPDX-License-Identifier: MIT
// Reports of runs: all of rubato/report/ but nlohmann_json.hpp and http.hpp, which need libraries.
#pragma once

#include <rubato/report/access_token.hpp>
#include <rubato/report/csv.hpp>
#include <rubato/report/gnuplot.hpp>
#include <rubato/report/heat_map.hpp>
#include <rubato/report/limit_weights.hpp>
#include <rubato/report/numbers.hpp>
#include <rubato/report/plot_script.hpp>
#include <rubato/report/progress.hpp>
#include <rubato/report/prometheus.hpp>
#include <rubato/report/status_page.hpp>
#include <rubato/report/summary.hpp>
#include <rubato/report/table.hpp>
#include <rubato/report/totals.hpp>
#include <rubato/run/atomic_file.hpp>
