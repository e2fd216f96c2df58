#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
# include_graph.sh ROOT: law 1 of the design. Each folder of ROOT/include/rubato includes only what the table below
# allows; the maths knows no thread, lock, clock or random device; third-party headers stand only in files named after
# the library. The table is the one of the design page ("may include"); every folder may include itself.
set -uo pipefail

root=$1/include/rubato
[[ -d $root ]] || { echo "there is no folder $root"; exit 1; }
mapfile -t files < <(find "$root" \( -name '*.hpp' -o -name '*.cuh' \) | LC_ALL=C sort)
((${#files[@]} > 0)) || { echo "$root holds no headers"; exit 1; }

awk -v root="$root/" '
  BEGIN {
    allow("core", "")
    allow("backend", "core")
    allow("topology", "core")
    allow("mixing", "core topology")
    allow("step weighting synchrony contribution codec ledger", "core backend")
    allow("server", "core backend weighting")
    allow("algorithm", "core backend topology mixing step weighting server synchrony contribution codec ledger")
    allow("problem", "core backend")
    maths_folders = "core backend topology mixing step weighting server synchrony contribution codec ledger algorithm problem"
    set_of(maths, maths_folders)
    allow("wire", "core")
    allow("transport", "core wire")
    allow("collective", "core wire transport")
    allow("environment", "core topology wire")
    allow("planner", "core backend codec topology mixing wire environment")
    allow("run", maths_folders " wire transport")
    allow("driver", maths_folders " wire transport environment run")
    allow("report", "core run transport")
    allow("instances", "backend algorithm run/assemble")

    set_of(timing, "thread mutex shared_mutex atomic condition_variable future stop_token semaphore barrier latch")
    set_of(heavy, "iostream regex functional ranges random")
    exempt["core/shared_buffer.hpp"] = 1            # its pool is freed across threads
    library["Eigen"] = "eigen"; library["thrust"] = "thrust"; library["cub"] = "thrust"; library["cuda"] = "thrust"; library["cuda_runtime_api.h"] = "thrust"; library["cublas_v2.h"] = "cublas"
    library["boost"] = "tcp udp asio shared_memory security tls http"; library["openssl"] = "tls"
    library["zlib.h"] = "zlib"; library["xxhash.h"] = library["xxh_x86dispatch.h"] = "xxhash"
    library["nlohmann"] = "nlohmann_json"
    library["mpi.h"] = "mpi"; library["torch"] = "torch"; library["omp.h"] = "openmp"; library["tbb"] = "tbb"
    named = " eigen nlohmann_json thrust asio tcp udp shared_memory security tls http mpi openmp tbb zlib xxhash torch "
    kin["asio"] = kin["tcp"] = kin["udp"] = kin["shared_memory"] = kin["security"] = kin["tls"] = kin["http"] = 1   # one library stands behind them
  }
  function set_of(set, words,   list, k, count) { count = split(words, list, " "); for (k = 1; k <= count; ++k) set[list[k]] = 1 }
  function allow(folders, others,   a, b, i, j, n, m) {
    n = split(folders, a, " "); m = split(others, b, " ")
    for (i = 1; i <= n; ++i) { known[a[i]] = 1; for (j = 1; j <= m; ++j) may[a[i], b[j]] = 1 }
  }
  function folder_of(path,   name) {                # core/ids.hpp -> core; topology.hpp, the umbrella -> topology
    if (index(path, "/")) { sub(/\/.*/, "", path); return path }
    name = path; sub(/\.[a-z]+$/, "", name)
    return name in known ? name : "top"
  }
  function stem(path) { sub(/.*\//, "", path); sub(/\.[a-z]+$/, "", path); return path }
  function say(text) { print "include/rubato/" file ":" FNR ": " text; ++broken }

  function close_file() {
    if (file == "") return
    if (file ~ /\/detail\// && open_names) { FNR = open_names; say("a header of detail/ declares names outside of a namespace detail") }
    if (file !~ /\/detail\// && internal && !open_names) { FNR = internal; say("all that this header declares is internal: it belongs in " folder "/detail/") }
  }
  FNR == 1 {
    at = FNR; close_file(); FNR = at; open_names = internal = 0
    file = substr(FILENAME, length(root) + 1); folder = folder_of(file); in_comment = 0; ++count
    if (folder != "top" && !(folder in known)) say("the folder " folder " is not in the table of tests/laws/include_graph.sh")
  }
  {
    line = $0
    gsub(/"([^"\\]|\\.)*"/, line ~ /^[ \t]*#[ \t]*include/ ? "&" : "\"\"", line)
    if (in_comment) { if (!sub(/.*\*\//, "", line)) next; in_comment = 0 }
    gsub(/\/\*[^*]*\*\//, "", line); sub(/\/\/.*/, "", line)
    if (sub(/\/\*.*/, "", line)) in_comment = 1
  }
  line ~ /^(inline )?namespace [a-z_]/ { if (line ~ /detail/) internal = FNR; else open_names = FNR }
  (folder in maths) && line ~ /_clock[ \t]*::[ \t]*now|random_device|[^a-zA-Z_]gettimeofday|this_thread/ {
    say("the maths reads a clock, a thread or a random device: " line)
  }
  line ~ /^[ \t]*#[ \t]*include/ {
    target = line; sub(/^[ \t]*#[ \t]*include[ \t]*/, "", target); sub(/[ \t]+$/, "", target)
    if (target !~ /^</) { say("write #include <rubato/...>, not " target); next }
    target = substr(target, 2, length(target) - 2)
    if (target ~ /^rubato\//) own(substr(target, 8)); else foreign(target)
  }
  function own(path,   other) {
    if (path == "version.hpp" || path == "fwd.hpp") return
    if (index(named, " " stem(path) " ") && stem(path) != stem(file) && !(stem(path) in kin && stem(file) in kin))
      say("<rubato/" path "> needs a third-party library; only the user includes it, or a file of the same name")
    if (folder == "top") return
    other = folder_of(path)
    if (other == folder || (folder, other) in may) return
    if ((folder, other "/" stem(path)) in may) return
    say(folder "/ may not include <rubato/" path ">")
  }
  function foreign(name,   head, list, k, n) {
    head = name; sub(/\/.*/, "", head)
    if (head in library) {
      n = split(library[head], list, " ")
      for (k = 1; k <= n; ++k) if (stem(file) == list[k]) return
      say("<" name "> belongs in a file named " library[head])
    } else if (name ~ /^[a-z]*mmintrin\.h$/ || name ~ /^arm_[a-z]+\.h$/) {
      return                                         # the compiler brings these
    } else if (name ~ /^(sys|netinet|arpa|linux)\// || name ~ /^(unistd|fcntl|poll|signal|sched|pthread|time|netdb|errno)\.h$/) {
      if ((folder in maths) && !(file in exempt)) say("the maths includes the operating system: <" name ">")
    } else if (index(name, "/") || index(name, ".")) {
      say("<" name "> is neither of the standard library nor in the list of tests/laws/include_graph.sh")
    } else if ((folder in maths) && !(file in exempt)) {
      if (name in timing) say("the maths includes the environment: <" name ">")
      if (name in heavy) say("<" name "> is too heavy for a header of the maths")
    }
  }
  END {
    close_file()
    if (broken) { print broken " violations of the include graph"; exit 1 }
    print count " headers obey the include graph"
  }
' "${files[@]}"
