// SPDX-License-Identifier: MIT
#include <rubato/report/totals.hpp>

#include <cmath>

#include "support/catch.hpp"
#include "support/scratch_folder.hpp"

namespace {

using namespace rubato;
using namespace rubato::report;

TEST_CASE("totals add up the edges and weigh ages by their uses") {
  auto const sums = totals_of(rubato::test::sample_result("a"));
  CHECK(sums.gradients == 60);
  CHECK(sums.packets_sent == 30);
  CHECK(sums.bytes_sent == 12000);
  CHECK(sums.packets_lost == 4);
  CHECK(mean_age(sums.age) == Approx(0.005));  // (2 + 4 + 9) / 3 ms, not the mean of the edges' means
  CHECK(largest_age(sums.age) == Approx(0.009));
  CHECK(mean_age(sums.age_of_channel[static_cast<std::size_t>(channel_id::model)]) == Approx(0.003));
}

TEST_CASE("a run that was never measured has no final loss, and the gradients of its nodes") {
  auto r = rubato::test::sample_result("a");
  r.history.clear();
  CHECK(totals_of(r).gradients == 57);
  CHECK(std::isnan(final_loss(r)));
  CHECK(std::isnan(final_accuracy(r)));
}

TEST_CASE("without uses there is no mean age") {
  CHECK(std::isnan(mean_age({})));
  CHECK(std::isnan(largest_age({})));
}

}  // namespace
