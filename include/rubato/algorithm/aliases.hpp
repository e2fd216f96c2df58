// SPDX-License-Identifier: MIT
// Names that once stood here have a file each, found by its name.
#pragma once

#include <rubato/algorithm/byte_grad.hpp>
#include <rubato/algorithm/d_psgd.hpp>
#include <rubato/algorithm/d_psgd_atc.hpp>
#include <rubato/algorithm/gradient_tracking.hpp>
#include <rubato/algorithm/non_blocking_allreduce.hpp>
#include <rubato/algorithm/non_blocking_d_psgd.hpp>
#include <rubato/algorithm/push_pull.hpp>
#include <rubato/algorithm/r_fast.hpp>
#include <rubato/algorithm/r_fast_low_bits.hpp>
#include <rubato/algorithm/s_ab.hpp>
