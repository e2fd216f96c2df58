// SPDX-License-Identifier: MIT
// Names that once stood here have a file each, found by its name.
#pragma once

#include <rubato/algorithm/asgd.hpp>
#include <rubato/algorithm/rescaled_asgd.hpp>
#include <rubato/algorithm/ringmaster_asgd.hpp>
