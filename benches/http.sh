#!/usr/bin/env bash
# Compares the edge with bare servers, in turn, in one run. Prints ratios with their spread, as rows of a table.
#
#   benches/http.sh [ROUNDS]           (3)
#
#   MASHANG_BENCH_SECONDS   duration of each measurement, after two seconds of warm-up (8)
#   MASHANG_BENCH_DIR       directory of reports, logs and the broker's files (target/door); it is emptied first
#   MASHANG_BENCH_ONLY      hello, parse or udp: only that comparison
#   MASHANG_KAFKA_PORT      port of the broker that this run starts (29092)
#
# Needs Java 17 and Kafka's jars (deploy/kafka/kafka fetch). It ends all that it starts.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
rounds=${1:-3}
seconds=${MASHANG_BENCH_SECONDS:-8}
# shellcheck source=benches/testkit.sh
. "$root/benches/testkit.sh"
stand door

edge
server hello reference hello
server parse reference parse --merchant acme
server udp reference udp
hello_url=$(sed -n 's/^\(http:.*\)/\1/p' "$dir/hello.out")
parse_url=$(sed -n 's/^\(http:.*\)/\1/p' "$dir/parse.out")
udp_address=$(sed -n 's/^udp //p' "$dir/udp.out")
udp_admin=$(sed -n 's/^admin //p' "$dir/udp.out")

# Measures the edge and a reference in turn: REFERENCE TITLE OPTION…, with the options for the two servers in `ours` and `theirs`,
# and the ratio to reach in `aim`.
compare() {
  local name=$1 title=$2 round run reports=()
  shift 2
  [[ ${MASHANG_BENCH_ONLY:-$name} == "$name" ]] || return 0
  for ((round = 1; round <= rounds; round++)); do
    run=$name-$((++runs))
    load "$run-edge" "$edge_pid" "$@" "${ours[@]}"
    load "$run-$name" "${pids[$name]}" "$@" "${theirs[@]}"
    reports+=("$dir/$run-edge.json" "$dir/$run-$name.json")
  done
  "$bench" ratio --name "$title" ${aim:+--aim "$aim"} "${reports[@]}" >>"$dir/ratios"
}

load() {
  local name=$1 pid=$2
  shift 2
  "$bench" load --merchant acme --seconds "$seconds" --server-pid "server=$pid" "broker=$broker_pid" \
    --report "$dir/$name.json" "$@" >"$dir/$name.txt" || fail "$name: $(cat "$dir/$name.txt")"
  echo "$name: $(sed -n 's/^throughput *//p' "$dir/$name.txt")" >&2
}

# A warm-up: Java compiles the code of a new broker while it runs.
load warm "$edge_pid" --closed --connections 512 --url "$edge_url"

runs=0
: >"$dir/ratios"
ours=(--url "$edge_url") theirs=(--url "$hello_url") aim=0.8
compare hello "one-event POST, 512 connections : bare hyper" --closed --connections 512
aim=
compare hello "the same at 5,000 a second" --rate 5000 --connections 64
theirs=(--url "$parse_url") aim=0.6
compare parse "NDJSON × 100, 64 connections : only parsing" --closed --connections 64 --batch 100
ours=(--transport udp --udp "$edge_udp" --admin "$edge_admin") theirs=(--transport udp --udp "$udp_address" --admin "$udp_admin") aim=0.8
compare udp "JSON datagrams, one event each, a flood : only counting" --closed --connections 64
aim=
compare udp "the same at 20,000 a second" --rate 20000 --connections 64

echo "| what | throughput, ratio | processor time of the server an event, ratio | events/s, medians | ms a million events, medians |"
echo "|---|---|---|---|---|"
cat "$dir/ratios"
echo "(median, minimum and maximum of $rounds pairs of $seconds s; reports in $dir)"
