# Functions for measurements of a fleet's edge, to be sourced: they start a Kafka broker, topics, rules and an edge.
# `stand NAME` sets $dir, $bench, $mashang, $broker, $broker_pid; `edge` sets $edge_url, $edge_udp, $edge_admin, $edge_pid.

fail() { echo "${0##*/}: $*" >&2; exit 1; }

declare -A pids=()

stand() {
  dir=${MASHANG_BENCH_DIR:-$root/target/$1}
  mashang=$root/target/release/mashang bench=$root/target/release/mashang-bench
  # One after the other: together, their dependencies would be built again with the features of both.
  (cd "$root" && cargo build --release --quiet -p mashang && cargo build --release --quiet -p mashang-bench)
  rm -rf "$dir"
  mkdir -p "$dir/store"
  export MASHANG_KAFKA_DIR=$dir/kafka MASHANG_KAFKA_PORT=${MASHANG_KAFKA_PORT:-29092}
  trap finish EXIT
  broker=$("$root/deploy/kafka/kafka" start)
  broker_pid=$(cat "$MASHANG_KAFKA_DIR/1/pid")
  cat >"$dir/acme.toml" <<-RULES
	merchant = "acme"
	currency = "CNY"
	time_zone = "Asia/Shanghai"
	[[code]]
	id = "c0"
	kind = "service"
	RULES
  "$mashang" topics create --kafka "$broker" --replication 1 --min-insync 1 --scans 4 --draws 4 --awards 2 --facts 4 >"$dir/topics.out"
  "$mashang" rules publish "$dir/acme.toml" --kafka "$broker" --store "file:$dir/store" >"$dir/publish.out" 2>&1 ||
    fail "$(cat "$dir/publish.out")"
}

# Ends only the processes that were started here, by their process ids.
finish() {
  local name
  for name in "${!pids[@]}"; do kill -TERM "${pids[$name]}" 2>/dev/null || true; done
  for name in "${!pids[@]}"; do wait "${pids[$name]}" 2>/dev/null || true; done
  "$root/deploy/kafka/kafka" stop || true
  rm -rf "$dir/kafka" "$dir/store"
}

# Starts `mashang-bench ARG…` under a name, and waits until it prints its address.
server() {
  local name=$1
  shift
  "$bench" "$@" >"$dir/$name.out" 2>&1 &
  pids[$name]=$!
  await "$name" 'http'
}

# Starts an edge with further options, and waits until it is ready.
edge() {
  "$mashang" edge --kafka "$broker" --store "file:$dir/store" --http 127.0.0.1:0 --udp 127.0.0.1:0 --admin 127.0.0.1:0 "$@" \
    >"$dir/edge.out" 2>&1 &
  pids[edge]=$! edge_pid=$!
  await edge ' ready '
  edge_url=http://$(sed -n 's/.* ready .*http=\([^ ]*\).*/\1/p' "$dir/edge.out")
  edge_udp=$(sed -n 's/.* ready .*udp=\([^ ]*\).*/\1/p' "$dir/edge.out")
  edge_admin=http://$(sed -n 's/.* ready .*admin=\([^ ]*\).*/\1/p' "$dir/edge.out")
}

# Waits until the output of a started process contains a word.
await() {
  local name=$1 word=$2 i
  for ((i = 0; i < 300; i++)); do
    grep -qs -- "$word" "$dir/$name.out" && return
    kill -0 "${pids[$name]}" 2>/dev/null || break
    sleep 0.1
  done
  fail "$name does not start: $(tail -n 5 "$dir/$name.out")"
}
