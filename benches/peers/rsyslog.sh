#!/usr/bin/env bash
# Compares rsyslog (imudp, omkafka) with the edge: UDP to the same Kafka, in turn, in one run. Prints the processor time for a
# million events that are in the topics.
#
#   benches/peers/rsyslog.sh [ROUNDS]     (3)
#
#   MASHANG_BENCH_SECONDS   duration of each measurement (10)
#   MASHANG_BENCH_RATES     datagrams a second, with one event each; 0 is without a limit ("20000 0")
#   MASHANG_BENCH_DIR, MASHANG_KAFKA_PORT   as for http.sh (target/peers, 29092)
#   MASHANG_RSYSLOG_PORT    port of rsyslog (29514)
#
# Needs rsyslog with its module omkafka (Debian: rsyslog, rsyslog-kafka), and what http.sh needs.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
rounds=${1:-3}
seconds=${MASHANG_BENCH_SECONDS:-10}
read -ra rates <<<"${MASHANG_BENCH_RATES:-20000 0}"
port=${MASHANG_RSYSLOG_PORT:-29514}
topic=peers.rsyslog
command -v rsyslogd >/dev/null || { echo "rsyslog.sh: rsyslogd is not installed: apt-get install rsyslog rsyslog-kafka" >&2; exit 1; }
# shellcheck source=benches/testkit.sh
. "$root/benches/testkit.sh"
stand peers
kafka() { "$root/deploy/kafka/kafka" tool "$@" 2>/dev/null; }

edge
kafka org.apache.kafka.tools.TopicCommand --bootstrap-server "$broker" --create --topic "$topic" --partitions 4 >/dev/null
mkdir -p "$dir/rsyslog"
sed -e "s/PORT/$port/; s/BROKER/$broker/; s/TOPIC/$topic/; s|DIR|$dir/rsyslog|" "$root/benches/peers/rsyslog.conf" >"$dir/rsyslog.conf"
rsyslogd -n -f "$dir/rsyslog.conf" -i "$dir/rsyslog.pid" >"$dir/rsyslog.out" 2>&1 &
pids[rsyslog]=$!
sleep 2
kill -0 "${pids[rsyslog]}" || fail "rsyslogd does not start: $(cat "$dir/rsyslog.out")"

# Prints the processor time of a process so far, in ms.
cpu_ms() {
  local stat fields
  stat=$(cat "/proc/$1/stat")
  read -ra fields <<<"${stat##*) }"
  echo $(((fields[11] + fields[12]) * 10))
}

# Prints the number of events in the log: for rsyslog the records of its topic, for the edge, whose records hold many events, its
# own count of durable events.
in_topic() {
  if [[ $1 == rsyslog ]]; then
    kafka org.apache.kafka.tools.GetOffsetShell --bootstrap-server "$broker" --topic "$topic" | awk -F: '{ sum += $3 } END { print sum + 0 }'
  else
    curl -fs "$edge_admin/metrics" | sed -n 's/^mashang_events_accepted_total{transport="udp"} //p'
  fi
}

# Waits until the topic does not grow any more; prints its number of events.
settled() {
  local before=-1 now
  now=$(in_topic "$1")
  while [[ $now != "$before" ]]; do
    sleep 2
    before=$now
    now=$(in_topic "$1")
  done
  echo "$now"
}

# Measures the edge or rsyslog once; prints a row of the table.
measure() {
  local who=$1 rate=$2 round=$3 to pace before cpu broker_cpu events sent
  [[ $who == edge ]] && to=$edge_udp || to=127.0.0.1:$port
  [[ $rate == 0 ]] && pace=(--closed) || pace=(--rate "$rate")
  before=$(settled "$who") cpu=$(cpu_ms "${pids[$who]}") broker_cpu=$(cpu_ms "$broker_pid")
  "$bench" load --transport udp --blind --udp "$to" --merchant acme --warmup 0 --seconds "$seconds" "${pace[@]}" >"$dir/$who-$rate-$round.txt"
  sent=$(sed -n 's/^sent *//p' "$dir/$who-$rate-$round.txt")
  events=$(($(settled "$who") - before))
  cpu=$(($(cpu_ms "${pids[$who]}") - cpu)) broker_cpu=$(($(cpu_ms "$broker_pid") - broker_cpu))
  awk -v w="$who" -v r="$rate" -v s="$sent" -v e="$events" -v c="$cpu" -v b="$broker_cpu" -v t="$seconds" 'BEGIN {
    if (e == 0) { print "rsyslog.sh: " w ": nothing is in the topic" > "/dev/stderr"; exit 1 }
    printf "| %s | %s | %d | %.2f %% | %.2f | %.2f |\n", w, r == 0 ? "flood" : r "/s", e / t, 100 * (s - e) / s, c / e * 1000, b / e * 1000
  }'
}

echo "| who | datagrams | sent a second, and in the log | lost | s of processor time a million events in the log | the broker's |"
echo "|---|---|---|---|---|---|"
for rate in "${rates[@]}"; do
  for ((round = 1; round <= rounds; round++)); do
    for who in edge rsyslog; do measure "$who" "$rate" "$round"; done
  done
done
# The edge's count is compared with the log once, at the end.
counted=$("$mashang" log dump --kafka "$broker" | wc -l)
echo "(the edge counts as accepted $(in_topic edge) events; log dump finds $counted)"
