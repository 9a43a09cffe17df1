#!/usr/bin/env bash
# Sends five times the edge's greatest throughput. Prints what the edge accepts meanwhile, its latency and memory, and its
# throughput afterwards. A control group limits the edge to a share of a processor, so that the client is not the limit.
#
#   benches/overload.sh [SECONDS]     (60)
#
#   MASHANG_BENCH_CPU       the edge's share of a processor, percent (20)
#   MASHANG_BENCH_TIMES     multiple of the greatest throughput that is sent (5)
#   MASHANG_BENCH_INFLIGHT  the edge's memory for requests in flight, bytes (33554432)
#   MASHANG_BENCH_DIR, MASHANG_KAFKA_PORT   as for http.sh (target/overload, 29092)
#
# Needs root, Linux control groups, and what http.sh needs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
seconds=${1:-60}
percent=${MASHANG_BENCH_CPU:-20} times=${MASHANG_BENCH_TIMES:-5} inflight=${MASHANG_BENCH_INFLIGHT:-33554432}
# shellcheck source=benches/testkit.sh
. "$root/benches/testkit.sh"

group=mashang-overload-$$
# Both versions of control groups: limits a group to a part of every 100 ms.
if [[ -d /sys/fs/cgroup/cpu ]]; then
  group_dir=/sys/fs/cgroup/cpu/$group
  limit() { echo 100000 >"$group_dir/cpu.cfs_period_us" && echo $((percent * 1000)) >"$group_dir/cpu.cfs_quota_us"; }
else
  group_dir=/sys/fs/cgroup/$group
  limit() { echo "$((percent * 1000)) 100000" >"$group_dir/cpu.max"; }
fi
mkdir "$group_dir" && limit || fail "no control group can be made: run it as root"

stand overload
trap 'finish; rmdir "$group_dir"' EXIT
edge --inflight-bytes "$inflight"
echo "$edge_pid" >"$group_dir/cgroup.procs"

load() {
  local name=$1
  shift
  "$bench" load --merchant acme --url "$edge_url" --admin "$edge_admin" --batch 100 --server-pid "edge=$edge_pid" \
    --report "$dir/$name.json" --page "$dir/$name.html" "$@" >"$dir/$name.txt" || true
  sed "s/^/$name: /" "$dir/$name.txt" | grep -E 'throughput|accepted|sent again|sent → ack|edge ' || fail "$name: $(cat "$dir/$name.txt")"
}

load before --closed --connections 64 --seconds 20
most=$(python3 -c 'import json, sys; print(int(json.load(open(sys.argv[1]))["throughput_per_s"]))' "$dir/before.json")
load over --warmup 0 --rate $((most * times)) --seconds "$seconds" --connections 4000 --retry-for 600 --drain 5
load after --rate $((most / 2)) --connections 64 --seconds 10
curl -fs "$edge_admin/metrics" | grep -E '^mashang_events_(received|accepted|rejected|shed)_total' | grep -v ' 0$'
