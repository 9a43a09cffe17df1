#!/usr/bin/env python3
"""Measures Mashang beside the same job in Kafka Streams and in Flink, on the same events, and prints ratios.

    benches/peers/peers.py                                  three runs of both states, all peers
    benches/peers/peers.py --state catching-up --events 200000 --runs 1 --peer kstreams-eos
    benches/peers/peers.py --state live --rate 20000 --seconds 20

The job: read an event, drop duplicates, verify the token of a minted code, count the code's scans, give the code to its first shopper
and draw, keep touches, post the commission of orders, count by merchant, campaign, store and guide, and day.

States:
  catching-up   the events are in the log before the job starts
  live          the events come at --rate in batches of 50, and results are read as they come

Peers (benches/peers/java):
  kstreams-eos      Kafka Streams, exactly_once_v2
  kstreams-alo      Kafka Streams, at_least_once
  kstreams-predraw  Kafka Streams, exactly_once_v2; the producer sends item scans by code, so that nothing is shuffled after the draw
  flink             Flink in one process, exactly-once

Each run has a broker of its own, warmed up by all jobs, which take turns on it. A job of the peers first reads --warm events (live
--warm-seconds) that are not measured, for Java's compiler, whose threads have a figure of their own. After each job its output is
compared with the exports of Mashang's ledger: a difference ends the bench, with the field's name. It needs Java 17, Maven, Kafka's jars
(deploy/kafka/kafka fetch) and a release build of mashang, and ends all that it starts.
"""

import argparse
import csv
import datetime
import fcntl
import hashlib
import io
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(HERE.parent))
import fleet  # noqa: E402

JAVA = HERE / "java"
GUIDES, STORES, SHOPPERS = 50, 10, 1_000_000
# A heap whose young part is large, because most of what a job makes is short-lived, and the collector with the least work.
JVM = "-Xms4g -Xmx4g -Xmn2g -XX:+UseSerialGC"
# Threads of the compiler that stay, so that their time can be told from the rest.
STEADY = "-XX:-UseDynamicNumberOfCompilerThreads"
PEERS = ("kstreams-eos", "kstreams-alo", "kstreams-predraw", "flink")
OURS = "mashang"
OPENED = [f"--add-opens=java.base/{package}=ALL-UNNAMED" for package in ("java.util", "java.lang", "java.nio", "java.time")]
# Milliseconds between two commits or checkpoints: few commits where throughput counts; where latency counts, the default of Streams for
# exactly-once, whose results wait for a commit.
COMMIT = {
    "catching-up": {"kstreams-eos": 5000, "kstreams-predraw": 5000, "kstreams-alo": 5000, "flink": 10000},
    "live": {"kstreams-eos": 100, "kstreams-predraw": 100, "kstreams-alo": 5000, "flink": 1000},
}
METRICS = {"scans", "interactions", "entries", "duplicates", "orders", "gmv", "credited_orders", "credited_net", "commission", "wins"}
SCOPES = {"merchant", "campaign", "store", "guide"}


def rules():
    """Mashang's rules: those of fleet.py with more stores and guides."""
    head, tail = fleet.RULES.split("[[store]]")[0], fleet.RULES[fleet.RULES.index("[[commission]]"):]
    tail = tail.replace('[[code]]\nid = "GUIDE-1"\nkind = "guide"\nguide = "g-1"\n', "")
    stores = "".join(f'[[store]]\nid = "s-{i}"\n' for i in range(STORES))
    guides = "".join(f'[[guide]]\nid = "g-{i}"\nstore = "s-{i % STORES}"\n' for i in range(GUIDES))
    codes = "".join(f'[[code]]\nid = "GUIDE-{i}"\nkind = "guide"\nguide = "g-{i}"\n' for i in range(GUIDES))
    return head + stores + guides + codes + tail


def peer_rules(file):
    """The same for peers."""
    secret = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("batch", "wheel")}
    lines = ["merchant acme", f"zone {8 * 3600 * 1000}", "commission 50000", f"campaign wheel {secret['wheel']}"]
    lines += [f"batch 1 {fleet.CODES} {secret['batch']}", "prize points 200000"]
    lines += [f"store s-{i}" for i in range(STORES)]
    lines += [f"guide g-{i} s-{i % STORES} GUIDE-{i}" for i in range(GUIDES)]
    file.write_text("\n".join(lines) + "\n")


def build():
    """Compiles the jobs, if a source is newer than what is there."""
    jar = JAVA / "target/peers-1.jar"
    sources = [JAVA / "pom.xml", *JAVA.glob("src/**/*.java")]
    if not jar.exists() or any(source.stat().st_mtime > jar.stat().st_mtime for source in sources):
        command = ["mvn", "--batch-mode", "--quiet", "--file", JAVA / "pom.xml", "package", "dependency:copy-dependencies",
                   "-DincludeScope=runtime"]
        subprocess.run(command, check=True)
    return f"{jar}:{JAVA / 'target/dependency'}/*"


def seconds_of(stat):
    fields = stat.rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / fleet.TICKS


def process_cpu(pid):
    return seconds_of(Path(f"/proc/{pid}/stat").read_text())


def compiler_cpu(pid):
    """Processor time of the threads of Java's compiler: a program that runs for days pays it once."""
    stats = (thread / "stat" for thread in Path(f"/proc/{pid}/task").iterdir())
    return sum(seconds_of(stat) for stat in (file.read_text() for file in stats) if re.search(r"\(C[12] Compiler", stat))


class Meter:
    """Processor time since its making: of programs by name, without Java's compiler, which has a figure of its own."""

    def __init__(self, **pids):
        self.pids = pids
        self.before = self.read()

    def read(self):
        compilers = {name: compiler_cpu(pid) for name, pid in self.pids.items()}
        seconds = {name: process_cpu(pid) - compilers[name] for name, pid in self.pids.items()}
        return {**seconds, "Java's compilers (left out)": sum(compilers.values())}

    def figures(self, events):
        """Seconds a million events."""
        return {name: (now - self.before[name]) / (events / 1e6) for name, now in self.read().items()}


def peak_mb(pid):
    return int(re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text()).group(1)) / 1024


class Java:
    """A program of benches/peers/java that runs, and its lines."""

    def __init__(self, bench, log, what, flags, **options):
        words = [word for name, value in options.items() for word in ("--" + name.replace("_", "-"), str(value))]
        command = ["java", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", *flags, "-cp", bench.jars, "peers.Main", what, *words]
        self.log, self.what = log, what
        self.process = subprocess.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT)
        bench.running.append(self.process)
        self.bench = bench

    def last(self, pattern):
        found = None
        with self.log.open() as lines:
            lines.seek(0, 2)
            lines.seek(max(0, lines.tell() - 5000))
            for line in lines.read().splitlines():
                found = re.match(pattern, line) or found
        return found

    def await_line(self, pattern, timeout=900, good=lambda found: True, alive=True):
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            found = self.last(pattern)
            if found and good(found):
                return found
            if alive and self.process.poll() is not None and not self.last(pattern):
                break
            time.sleep(0.02)
        sys.exit(f"peers.py: {self.what} does not print {pattern}: {self.log.read_text()[-3000:]}")

    def end(self):
        """Waits for the end of a program that ends by itself."""
        if self.process.wait(900) != 0:
            sys.exit(f"peers.py: {self.what} failed: {self.log.read_text()[-3000:]}")
        self.bench.running.remove(self.process)
        return self.log.read_text()

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.bench.running.remove(self.process)


class Bench:
    def __init__(self, args):
        self.args, self.dir = args, args.dir
        self.jars, self.running, self.number = build(), [], 0
        self.mashang = str(args.mashang.resolve())
        self.broker = self.codes = self.events = self.expected = None
        peer_rules(self.dir / "peer.rules")

    def java(self, name, what, flags=("-Xmx2g", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"), **options):
        return Java(self, self.dir / f"{name}.out", what, flags, **options)

    def begin_run(self, run):
        os.environ["JDK_JAVA_OPTIONS"] = STEADY
        self.broker = fleet.Broker(self.dir / f"broker-{run}", self.args.port)
        del os.environ["JDK_JAVA_OPTIONS"]

    def end_run(self):
        if self.broker:
            self.broker.stop()
            shutil.rmtree(self.broker.dir, ignore_errors=True)
            self.broker = None

    def generate(self, count, seed):
        """Writes the events of the jobs that follow. Their times are of the last hours, so that none is late."""
        self.events, self.count, self.expected = self.dir / "events.ndjson", count, None
        begin = int((time.time() - 3 * 3600) * 1000)
        self.java("generate", "generate", events=count, seed=seed, codes=self.codes, shoppers=SHOPPERS, guides=GUIDES, stores=STORES,
                  merchant="acme", begin_ms=begin, out=self.events).end()

    def fleet(self):
        ours = fleet.Fleet(self.mashang, self.dir, self.broker, self.args.partitions, rules())
        if not self.codes:
            self.codes = self.dir / "codes.txt"
            shutil.copy(ours.codes(), self.codes)
        return ours

    # Mashang

    def ours_catching_up(self, measured):
        ours = self.fleet()
        try:
            if not self.events:
                self.generate(self.count, 0)
            ours.start("edge")
            meter = Meter(edge=ours.pid("edge"), broker=self.broker.pid)
            self.java("to-edge", "to-edge", edge=ours.ports["edge"]["http"], rate=0, batch=1000, merchant="acme", file=self.events,
                      skip=0, events=1).end()
            taken = meter.figures(self.count)
            ours.roles["edge"].send_signal(signal.SIGTERM)
            ours.roles.pop("edge").wait(60)
            meter, began = Meter(broker=self.broker.pid), time.monotonic()
            ours.start("worker")
            ours.await_settled("worker")
            seconds = time.monotonic() - began
            figures = {"application": ours.cpu("worker") / (self.count / 1e6), **meter.figures(self.count)}
            figures["events/s"] = self.count / seconds
            figures["peak memory, MB"] = ours.peak_mb("worker")
            figures["application and broker"] = figures["application"] + figures["broker"]
            figures["edge"], figures["broker of the edge"] = taken["edge"], taken["broker"]
            figures["with the edge and its broker"] = figures["application and broker"] + taken["edge"] + taken["broker"]
            ours.start("ledger")
            ours.await_settled("ledger")
            self.expected = self.exports(ours)
            return figures
        finally:
            ours.stop()

    def ours_live(self, measured):
        ours = self.fleet()
        try:
            for role in fleet.ROLES:
                ours.start(role)
            feed = self.java("to-edge", "to-edge", edge=ours.ports["edge"]["http"], console=ours.ports["console"]["http"],
                             rate=self.args.rate, merchant="acme", file=self.events, skip=self.count - measured, events=self.count)
            feed.await_line("measured")
            meter = Meter(**{name: ours.pid(name) for name in (*fleet.ROLES, "broker")})
            feed.await_line("sent")
            for role in ("worker", "ledger"):
                ours.await_settled(role)
            used = meter.figures(measured)
            latency = re.search(r"latency (\S+) (\S+) (\S+)", feed.end())
            self.expected = self.exports(ours)
            figures = {
                "application": used["worker"],
                "broker": used["broker"],
                "application and broker": used["worker"] + used["broker"],
                "with the edge": used["worker"] + used["broker"] + used["edge"],
                "all roles and broker": sum(used[name] for name in (*fleet.ROLES, "broker")),
                "Java's compilers (left out)": used["Java's compilers (left out)"],
                "peak memory, MB": ours.peak_mb("worker"),
                "results seen": int(latency.group(1)),
                "due → result, p50, ms": float(latency.group(2)),
                "due → result, p99, ms": float(latency.group(3)),
            }
            return figures
        finally:
            ours.stop()

    def exports(self, ours):
        """What Mashang's ledger says, by the names that the peers' output has."""

        def table(name):
            return csv.DictReader(io.StringIO(ours.run("export", name, "--ledger", f"sqlite:{ours.dir}/ledger.sqlite")))

        sums = {}

        def add(name, by):
            sums[name] = sums.get(name, 0) + by

        for row in table("counters"):
            if row["scope"] in SCOPES and row["metric"] in METRICS:
                add(counter(row["scope"], row["key"], row["day"], row["metric"]), int(row["value"]))
        for row in table("postings"):
            add(f"posted|{row['payee']}", int(row["amount"]))
            add(f"postings|{row['payee']}", 1)
        for row in table("awards"):
            add(f"prize|{row['awarded']}", 1)
        for row in table("codes"):
            add("codes", 1)
            add("scans", int(row["scans"]))
        return sums

    # Peers

    def start_peer(self, peer, state):
        self.number += 1
        prefix, directory = f"peer{self.number}", self.dir / f"peer-{self.number}"
        directory.mkdir()
        kafka = self.broker.address
        self.java("topics", "topics", kafka=kafka, prefix=prefix, partitions=self.args.peer_partitions).end()
        more = {"by_code": 1} if peer == "kstreams-predraw" else {}
        live = state == "live"
        tuned = {"threads": 2, "commit_ms": COMMIT[state][peer], "linger_ms": 5 if live else 100,
                 "fetch_bytes": 1 if live else 1 << 20, "dir": directory}
        guarantee = {"kstreams-alo": "at_least_once", "flink": "exactly-once"}.get(peer, "exactly_once_v2")

        def job():
            flags = [*self.args.jvm.split(), STEADY, *OPENED]
            return self.java("job", "flink" if peer == "flink" else "streams", flags, kafka=kafka, prefix=prefix,
                             rules=self.dir / "peer.rules", guarantee=guarantee, **tuned, **more)

        isolation = "read_uncommitted" if peer == "kstreams-alo" else "read_committed"
        feed = {"kafka": kafka, "prefix": prefix, "file": self.events, "isolation": isolation, **more}
        return job, feed, directory, COMMIT[state][peer] / 1000

    def settle(self, job, commit, count):
        """Waits until a job has read that many events and committed; returns when it had read them."""
        done = job.await_line(r"progress (\d+) (-?\d+)", good=lambda found: int(found[1]) >= count and int(found[2]) == 0)
        if int(done[1]) > count:
            sys.exit(f"peers.py: the job has read {done[1]} events of {count}")
        at = time.monotonic()
        time.sleep(commit + 2)
        return at

    def check(self, peer, feed):
        printed = self.java("output", "output", kafka=feed["kafka"], prefix=feed["prefix"], isolation=feed["isolation"],
                            rules=self.dir / "peer.rules").end()
        sums = {}
        for name, value in re.findall(r"^(.+) (-?\d+)$", printed, re.M):
            parts = name.split("|")
            if parts[0] == "counter":
                day = datetime.date(1970, 1, 1) + datetime.timedelta(days=int(parts[3]))
                name = counter(parts[1], parts[2], str(day), parts[4])
            sums[name] = sums.get(name, 0) + int(value)
        for name in sorted(sums.keys() | self.expected.keys()):
            if sums.get(name, 0) != self.expected.get(name, 0):
                sys.exit(f"peers.py: {peer} differs from Mashang in {name}: {sums.get(name, 0)} instead of {self.expected.get(name, 0)}")
        if not self.expected.get("scans") or not any(name.startswith("posted|") for name in sums):
            sys.exit("peers.py: the job's output is empty")

    def end_peer(self, feed, directory):
        self.java("topics", "topics", kafka=feed["kafka"], prefix=feed["prefix"], delete=1).end()
        shutil.rmtree(directory, ignore_errors=True)

    def peer_catching_up(self, peer, measured):
        start, feed, directory, commit = self.start_peer(peer, "catching-up")
        skip = self.count - measured

        def send(first, last):
            self.java("to-kafka", "to-kafka", rate=0, skip=0, linger_ms=50, **{**feed, "from": first, "to": last}).end()

        send(0, skip)
        job = start()
        # The job stands still until the measured events are there, with nothing of those before between its steps: exactly-once moves
        # records on only when it commits.
        self.settle(job, commit, skip)
        job.process.send_signal(signal.SIGSTOP)
        send(skip, self.count)
        meter, begun = Meter(application=job.process.pid, broker=self.broker.pid), time.monotonic()
        job.process.send_signal(signal.SIGCONT)
        seconds = self.settle(job, commit, self.count) - begun
        figures = meter.figures(measured)
        figures["events/s"] = measured / seconds
        figures["peak memory, MB"] = peak_mb(job.process.pid)
        figures["application and broker"] = figures["application"] + figures["broker"]
        job.stop()
        self.check(peer, feed)
        self.end_peer(feed, directory)
        return figures

    def peer_live(self, peer, measured):
        start, feed, directory, commit = self.start_peer(peer, "live")
        job = start()
        job.await_line("state RUNNING")
        sender = self.java("to-kafka", "to-kafka", rate=self.args.rate, skip=self.count - measured, linger_ms=5,
                           **{**feed, "from": 0, "to": self.count})
        sender.await_line("measured")
        meter = Meter(application=job.process.pid, broker=self.broker.pid)
        sender.await_line("sent")
        self.settle(job, commit, self.count)
        figures = meter.figures(measured)
        figures["application and broker"] = figures["application"] + figures["broker"]
        figures["peak memory, MB"] = peak_mb(job.process.pid)
        latency = re.search(r"latency (\S+) (\S+) (\S+)", sender.end())
        figures["results seen"] = int(latency.group(1))
        figures["due → result, p50, ms"], figures["due → result, p99, ms"] = float(latency.group(2)), float(latency.group(3))
        job.stop()
        self.check(peer, feed)
        self.end_peer(feed, directory)
        return figures

    def measure(self, what, state, measured):
        """Mashang comes first on new events, because its exports say what the peers' output must be."""
        live = state == "live"
        if what == OURS:
            return self.ours_live(measured) if live else self.ours_catching_up(measured)
        return self.peer_live(what, measured) if live else self.peer_catching_up(what, measured)

    def stop(self):
        for process in self.running:
            process.kill()
            process.wait()
        self.end_run()


def counter(scope, key, day, metric):
    """A counter's name. Days of `wins` are of the receipt, which is not the same in two runs around midnight."""
    return f"{metric} of {scope} {key}" + ("" if metric == "wins" else f" on {day}")


def report(title, runs, peers):
    print(f"\n### {title}\n")
    print("| what | " + " | ".join([OURS, *peers]) + " |")
    print("|---|" + "---|" * (1 + len(peers)))
    names = list(dict.fromkeys(name for what in (OURS, *peers) for name in runs[what][0]))
    for name in names:
        cells = []
        for what in (OURS, *peers):
            values = [run[name] for run in runs[what] if name in run]
            cells.append(spread(values, fleet.shown) if values else "")
        print(f"| {name} | " + " | ".join(cells) + " |")
    ratio("application", "application", runs, peers)
    ratio("application and broker", "application and broker", runs, peers)
    for name in ("with the edge and its broker", "with the edge", "all roles and broker"):
        if name in runs[OURS][0]:
            ratio(name, "application and broker", runs, peers)


def ratio(ours, theirs, runs, peers):
    """Mashang's processor time divided by a peer's of the same run."""
    cells = []
    for peer in peers:
        values = [mine[ours] / other[theirs] for mine, other in zip(runs[OURS], runs[peer])]
        cells.append(spread(values, lambda value: f"{value:.3f}") + f", 1/{1 / statistics.median(values):.1f}")
    print(f"| **ratio**: {ours} : peer's {theirs} | | " + " | ".join(cells) + " |", flush=True)


def spread(values, shown):
    text = shown(statistics.median(values))
    return text if len(values) == 1 else f"{text} ({shown(min(values))}…{shown(max(values))})"


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--state", action="append", choices=("catching-up", "live"))
    options.add_argument("--peer", action="append", choices=PEERS)
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--events", type=int, default=2_000_000, help="measured events of catching-up")
    options.add_argument("--warm", type=int, default=1_000_000, help="events before these, for Java's compiler")
    options.add_argument("--warm-up", type=int, default=300_000, help="events of each job that warm up the broker; 0: none")
    options.add_argument("--rate", type=int, default=20_000, help="events a second of live")
    options.add_argument("--seconds", type=int, default=20, help="measured seconds of live")
    options.add_argument("--warm-seconds", type=int, default=15, help="seconds of live before these")
    options.add_argument("--partitions", default="4,2,1,2", help="of Mashang's scans, draws, awards and facts")
    options.add_argument("--peer-partitions", type=int, default=4, help="of the peers' topics")
    options.add_argument("--snapshot-every", default="10s", help="interval of Mashang's snapshots")
    options.add_argument("--jvm", default=JVM, help="options of the peers' Java (%(default)s)")
    options.add_argument("--mashang", type=Path, default=fleet.ROOT / "target/release/mashang")
    options.add_argument("--dir", type=Path, default=fleet.ROOT / "target/peers-bench")
    options.add_argument("--port", type=int, default=29092, help="port of the broker")
    args = options.parse_args()
    args.dir = args.dir.resolve()
    args.dir.parent.mkdir(parents=True, exist_ok=True)
    lock = args.dir.with_suffix(".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"peers.py: another run uses {args.dir}: wait for its end, or give --dir and --port")
    shutil.rmtree(args.dir, ignore_errors=True)
    args.dir.mkdir()
    peers = args.peer or list(PEERS)
    states = args.state or ["catching-up", "live"]
    runs = {state: {what: [] for what in (OURS, *peers)} for state in states}
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit("peers.py: stopped"))
    os.environ["MASHANG_SNAPSHOT_EVERY"] = args.snapshot_every
    bench = Bench(args)
    try:
        for run in range(args.runs):
            bench.begin_run(run)
            if args.warm_up or not bench.codes:
                bench.events, bench.count = None, max(args.warm_up, 1000)
                for what in (OURS, *peers) if args.warm_up else (OURS,):
                    bench.measure(what, "catching-up", bench.count)
            for state in states:
                live = state == "live"
                measured = args.rate * args.seconds if live else args.events
                bench.generate(measured + (args.rate * args.warm_seconds if live else args.warm), run + 1)
                turn = run % len(peers)
                for what in (OURS, *peers[turn:], *peers[:turn]):
                    figures = bench.measure(what, state, measured)
                    runs[state][what].append(figures)
                    cells = ", ".join(f"{name} {fleet.shown(value)}" for name, value in figures.items())
                    print(f"{state}, run {run + 1}, {what}: {cells}", file=sys.stderr, flush=True)
            bench.end_run()
        for state in states:
            rate = f" at {args.rate:,} a second" if state == "live" else f", {args.events:,} events"
            report(f"{state}{rate}: processor seconds a million events, unless another unit is named", runs[state], peers)
    finally:
        bench.stop()
        shutil.rmtree(args.dir, ignore_errors=True)


if __name__ == "__main__":
    main()
