#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# browser.sh CLUSTER PEER [PICTURE]: in a browser the page of one node draws all nodes, their edges and losses. Skipped
# where there is no Chromium. With PICTURE, the page as it looks goes to that file.
set -uo pipefail

cluster=$1 peer=$2 picture=${3-}
[[ $picture == *.png ]] || picture=
. "$(dirname "${BASH_SOURCE[0]}")/../race/common.bash"
for browser in chromium chromium-browser google-chrome ''; do command -v "$browser" >/dev/null && break; done
[[ -n $browser ]] || { echo "there is no Chromium here (Debian: chromium)"; exit 77; }

timeout -s INT -k 20 150 "$cluster" --peer "$peer" --nodes 6 --topology ring --problem quadratic:200 --until 120s --step 0.005 \
  --compute lognormal:5ms,0.3 --status auto --out by-cluster >said 2>&1 &
run=$!
tries=0
until grep -q "^status: http" said || ((++tries == 600)); do sleep 0.1; done
url=$(sed -n 's/^status: //p' said)
look() {
  timeout -k 5 90 "$browser" --headless --no-sandbox --disable-gpu --disable-dev-shm-usage --user-data-dir="$PWD/profile" \
    --no-first-run --disable-background-networking --window-size=1060,900 --virtual-time-budget=8000 "$@" "$url" 2>browser-said
}
# as_wanted: whether the page shows 6 nodes, edges between them that have an age, 6 losses and 6 rows.
as_wanted() {
  (($(grep -o '<title>node [0-9]: running</title>' page.html | wc -l) == 6)) &&
    (($(grep -o '<title>node [0-9] to node [0-9]: here, [1-9][0-9]* used, age [^<]* local iterations</title>' page.html | wc -l) >= 12)) &&
    (($(grep -o '<polyline' page.html | wc -l) == 6)) && (($(grep -o '<td><span class="key"' page.html | wc -l) == 6))
}
for ((tries = 0; tries < 4; ++tries)); do
  look --dump-dom >page.html
  as_wanted && break
done
as_wanted || fail "the page does not show the run: $(head -c 4000 page.html) $(tail -n 3 browser-said)"
grep -q "R-FAST, 6 nodes" page.html || fail "the page does not say what runs"
if [[ -n $picture ]]; then
  sleep 20 # for a curve to look at
  look --screenshot="$picture" >/dev/null
fi
kill -INT "$(pgrep -P "$run" -x cluster)"
wait "$run"
finish
