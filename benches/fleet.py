#!/usr/bin/env python3
"""Measures a whole fleet: broker, edge, worker, ledger and console on this machine.

    benches/fleet.py                                    three runs of every state and mix
    benches/fleet.py --state live --mix scans --runs 1  one of them
    benches/fleet.py --mashang OLD --mashang NEW        two builds in turn, within one run

States:
  catching-up   the events are in `scans` before the worker starts; then the worker, the ledger and the console read them, one after
                another
  live          the events come at --rate, in requests of 50, and all roles run
  burst         the same, with three times the rate for five seconds

Mixes:
  scans         scans of minted codes, each of which enters a draw by odds
  orders        nine orders to one scan of a static code, few shoppers
  everything    scans of minted and static codes, visits, orders

It prints, by role and broker, processor time a million events and peak memory; records, bytes and events a record by topic; and
latencies. Each figure is the median of the runs, with the least and the greatest. Times depend on the machine: compare within one run.

The disk is the directory of --dir (target/fleet), which is emptied first. It needs Java 17, Kafka's jars (deploy/kafka/kafka fetch)
and release builds of mashang and mashang-bench. It ends all that it starts.
"""

import argparse
import fcntl
import hashlib
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
KAFKA = ROOT / "deploy/kafka/kafka"
TOPICS = ("scans", "draws", "awards", "facts")
ROLES = ("edge", "worker", "ledger", "console")
CODES = 2_000_000
TICKS = os.sysconf("SC_CLK_TCK")

RULES = """
merchant = "acme"
currency = "CNY"
time_zone = "Asia/Shanghai"
[[store]]
id = "s-1"
region = "330100"
[[guide]]
id = "g-1"
store = "s-1"
[[commission]]
rate = "5%"
[[code]]
id = "GUIDE-1"
kind = "guide"
guide = "g-1"
[[batch]]
number = 1
kind = "interactive"
campaign = "wheel"
count = {codes}
secret = "file:batch.key"
commit = "{batch}"
[[campaign]]
id = "wheel"
mode = "odds"
from = 2020-01-01T00:00:00+08:00
to = 2100-01-01T00:00:00+08:00
secret = "file:wheel.key"
commit = "{wheel}"
  [[campaign.prize]]
  id = "points"
  kind = "points"
  amount = 5
  [[campaign.phase]]
  odds = {{ "points" = "1/5" }}
"""


class Broker:
    """One broker for all runs: Java compiles its code while it runs, which takes it some minutes of processor time."""

    def __init__(self, directory, port):
        self.dir = directory / "kafka"
        env = {"MASHANG_KAFKA_DIR": str(self.dir), "MASHANG_KAFKA_PORT": str(port), "MASHANG_KAFKA_HEAP": "1g"}
        self.env = {**os.environ, **env}
        started = subprocess.run([KAFKA, "start"], env=self.env, check=True, capture_output=True, text=True)
        self.address = started.stdout.strip()
        self.pid = int((self.dir / "1/pid").read_text())

    def tool(self, name, *options):
        command = [KAFKA, "tool", f"org.apache.kafka.tools.{name}", "--bootstrap-server", self.address, *options]
        return subprocess.run(command, env=self.env, check=True, capture_output=True, text=True).stdout

    def stop(self):
        subprocess.run([KAFKA, "stop"], env=self.env, capture_output=True)


class Fleet:
    """One of each role, begun with empty topics."""

    number = 0

    def __init__(self, mashang, directory, broker, partitions, rules=RULES):
        Fleet.number += 1
        self.mashang, self.dir, self.broker = mashang, directory / f"run-{Fleet.number}", broker
        self.prefix = f"run{Fleet.number}"
        self.roles, self.ports = {}, {}
        (self.dir / "store").mkdir(parents=True)
        directory = self.dir
        self.kafka = ["--kafka", broker.address, "--prefix", self.prefix]
        commits = {}
        for name in ("batch", "wheel"):
            secret = hashlib.sha256(name.encode()).digest()
            key = directory / f"{name}.key"
            key.touch(0o600)
            key.write_text(secret.hex())
            commits[name] = hashlib.sha256(secret).hexdigest()
        self.rules = directory / "acme.toml"
        self.rules.write_text(rules.format(codes=CODES, **commits))
        counts = [word for pair in zip(TOPICS, partitions.split(",")) for word in (f"--{pair[0]}", pair[1])]
        self.run("topics", "create", *self.kafka, "--replication", "1", "--min-insync", "1", *counts)
        self.run("rules", "publish", self.rules, *self.kafka, *self.store())

    def store(self):
        return ["--store", f"file:{self.dir}/store"]

    def run(self, *command):
        done = subprocess.run([self.mashang, *command], cwd=self.dir, capture_output=True, text=True)
        if done.returncode != 0:
            sys.exit(f"fleet.py: mashang {command[0]}: {done.stderr}")
        return done.stdout

    def codes(self):
        table = self.dir / "codes.csv"
        self.run("mint", "--rules", self.rules, "--batch", "1", "--secrets", self.dir, "--out", table)
        codes = self.dir / "codes.txt"
        with table.open() as rows, codes.open("w") as out:
            next(rows)
            out.writelines(row.split(",")[1] + "\n" for row in rows)
        return codes

    def start(self, role):
        ledger = ["--ledger", f"sqlite:{self.dir}/ledger.sqlite"]
        more = {
            "edge": [*self.store(), "--http", "127.0.0.1:0", "--udp", "none"],
            "worker": [*self.store(), "--secrets", str(self.dir)],
            "ledger": ledger,
            "console": [*ledger, "--http", "127.0.0.1:0"],
        }[role]
        out = self.dir / f"{role}.out"
        command = [self.mashang, role, *self.kafka, *more, "--admin", "127.0.0.1:0"]
        self.roles[role] = subprocess.Popen(command, cwd=self.dir, stdout=out.open("w"), stderr=subprocess.STDOUT)
        for _ in range(600):
            found = re.search(r" ready .*", out.read_text())
            if found:
                self.ports[role] = dict(re.findall(r"(\w+)=([\d.]+:\d+)", found.group()))
                self.await_ready(role)
                return
            if self.roles[role].poll() is not None:
                break
            time.sleep(0.1)
        sys.exit(f"fleet.py: the {role} does not start: {out.read_text()[-2000:]}")

    def await_ready(self, role):
        for _ in range(300):
            try:
                self.admin(role, "readyz")
                return
            except OSError:
                time.sleep(0.1)
        sys.exit(f"fleet.py: the {role} is not ready: {(self.dir / f'{role}.out').read_text()[-2000:]}")

    def admin(self, role, path):
        with urllib.request.urlopen(f"http://{self.ports[role]['admin']}/{path}", timeout=10) as answer:
            return answer.read().decode()

    def metric(self, role, name):
        return sum(float(line.rsplit(" ", 1)[1]) for line in self.admin(role, "metrics").splitlines() if line.startswith(name))

    def await_settled(self, role, has_backlog=False):
        """Waits until a role has read all that its topics hold. With a backlog, its lag is first above zero: when it has partitions."""
        zero = 0
        for _ in range(6000):
            if has_backlog and not self.metric(role, "mashang_lag_frames"):
                time.sleep(0.01)
                continue
            has_backlog = False
            zero = zero + 1 if self.metric(role, "mashang_lag_frames") == 0 else 0
            if zero == 5:
                return
            time.sleep(0.1)
        sys.exit(f"fleet.py: the {role} does not catch up")

    def pid(self, name):
        return self.broker.pid if name == "broker" else self.roles[name].pid

    def cpu(self, name):
        fields = Path(f"/proc/{self.pid(name)}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def peak_mb(self, name):
        status = Path(f"/proc/{self.pid(name)}/status").read_text()
        return int(re.search(r"VmHWM:\s+(\d+)", status).group(1)) / 1024

    def topics(self):
        """Records and bytes in the log by topic."""
        offsets = self.broker.tool("GetOffsetShell")
        held = {topic: [0, 0] for topic in TOPICS}
        for topic, count in re.findall(rf"^{self.prefix}\.(\w+):\d+:(\d+)$", offsets, re.M):
            if topic in held:
                held[topic][0] += int(count)
        for topic, cell in held.items():
            for segment in self.broker.dir.glob(f"**/{self.prefix}.{topic}-*/*.log"):
                cell[1] += segment.stat().st_size
        return held

    def stop(self):
        ended = {role: process.poll() for role, process in self.roles.items()}
        for process in self.roles.values():
            process.send_signal(signal.SIGTERM)
        for process in self.roles.values():
            process.wait(60)
        for role, status in ended.items():
            if status is not None:
                sys.exit(f"fleet.py: the {role} ended with {status}: {(self.dir / f'{role}.out').read_text()[-3000:]}")
        self.broker.tool("TopicCommand", "--delete", "--topic", f"{self.prefix}\\..*")
        shutil.rmtree(self.dir, ignore_errors=True)


def load(bench, fleet, mix, codes, *options):
    """Sends events, and returns the load client's report."""
    report = fleet.dir / "load.json"
    what = {
        "scans": ["--action-mix", "scan=100", "--code-file", str(codes), "--code-skew", "0", "--shoppers", "1000000"],
        "orders": ["--action-mix", "scan=10,order=90", "--code-file", str(codes), "--code-skew", "0", "--shoppers", "20000"],
        "everything": ["--code-file", str(codes), "--code-skew", "0", "--shoppers", "500000"],
    }[mix]
    command = [bench, "load", "--merchant", "acme", "--url", f"http://{fleet.ports['edge']['http']}", "--report", report]
    done = subprocess.run([*command, *what, *options], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"fleet.py: mashang-bench load: {done.stdout}{done.stderr}")
    return json.loads(report.read_text())


def catching_up(args, fleet, mix, codes):
    """Processor seconds a million events of each role, while it reads what is there."""
    fleet.start("edge")
    before = {"edge": fleet.cpu("edge"), "broker": fleet.cpu("broker")}
    sent = load(args.bench, fleet, mix, codes, "--closed", "--connections", "8", "--batch", "1000", "--warmup", "0",
                "--seconds", str(args.seconds))
    millions = sent["accepted"] / 1e6
    figures = {f"{name} (taking in)": (fleet.cpu(name) - then) / millions for name, then in before.items()}
    fleet.roles["edge"].send_signal(signal.SIGTERM)
    fleet.roles.pop("edge").wait(60)
    for role in ("worker", "ledger", "console"):
        then = fleet.cpu("broker")
        began = time.monotonic()
        fleet.start(role)
        fleet.await_settled(role, has_backlog=role != "console")
        seconds = time.monotonic() - began
        figures[role] = fleet.cpu(role) / millions
        figures[f"broker ({role})"] = (fleet.cpu("broker") - then) / millions
        figures[f"{role}, events/s"] = sent["accepted"] / seconds
        figures[f"{role}, MB"] = fleet.peak_mb(role)
    return figures, sent["accepted"]


def live(args, fleet, mix, codes, *options):
    """Processor seconds a million events of all roles while they run, and latencies."""
    for role in ("edge", "worker", "ledger", "console"):
        fleet.start(role)
    # Four seconds at half the rate: connections are open, and the first pages of memory are there.
    load(args.bench, fleet, mix, codes, "--rate", str(args.rate // 2), "--batch", "50", "--warmup", "0", "--seconds", "4")
    for role in ("worker", "ledger"):
        fleet.await_settled(role)
    names = (*ROLES, "broker")
    held = fleet.topics()
    before = {name: fleet.cpu(name) for name in names}
    sent = load(args.bench, fleet, mix, codes, "--rate", str(args.rate), "--batch", "50", "--warmup", "0",
                "--results", "0.2%", "--results-url", f"http://{fleet.ports['console']['http']}",
                "--seconds", str(args.seconds), *options)
    for role in ("worker", "ledger"):
        fleet.await_settled(role)
    millions = sent["accepted"] / 1e6
    figures = {name: (fleet.cpu(name) - then) / millions for name, then in before.items()}
    figures["all roles and broker"] = sum(figures.values())
    for name in names:
        figures[f"{name}, MB"] = fleet.peak_mb(name)
    now = fleet.topics()
    for topic in TOPICS:
        records, size = (after - then for after, then in zip(now[topic], held[topic]))
        figures[f"{topic}: records"] = records
        figures[f"{topic}: events a record"] = sent["accepted"] / max(records, 1)
        figures[f"{topic}: bytes an event"] = size / sent["accepted"]
    for name, key in (("202", "ack"), ("scan → draw readable", "result")):
        for part in ("p50", "p99"):
            figures[f"{name}, {part} ms"] = sent[key][f"{part}_us"] / 1000
    return figures, sent["accepted"]


def measure(args, broker, mashang, state, mix):
    fleet = Fleet(mashang, args.dir, broker, args.partitions)
    try:
        codes = fleet.codes()
        if state == "catching-up":
            return catching_up(args, fleet, mix, codes)
        burst = ["--burst", "3x@3s+5s"] if state == "burst" else []
        return live(args, fleet, mix, codes, *burst)
    finally:
        fleet.stop()


def shown(value):
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}" if value < 10 else f"{value:.1f}"


def report(title, builds, runs):
    print(f"\n### {title}\n")
    print("| what | " + " | ".join(builds) + (" | ratio |" if len(builds) == 2 else " |"))
    print("|---|" + "---|" * (len(builds) + (len(builds) == 2)))
    for figure in runs[builds[0]][0]:
        cells, medians = [], []
        for build in builds:
            values = [run[figure] for run in runs[build]]
            medians.append(statistics.median(values))
            spread = f" ({shown(min(values))}…{shown(max(values))})" if len(values) > 1 else ""
            cells.append(shown(medians[-1]) + spread)
        ratio = f" | {medians[1] / medians[0]:.2f}" if len(builds) == 2 and medians[0] else " | " if len(builds) == 2 else ""
        print(f"| {figure} | " + " | ".join(cells) + ratio + " |", flush=True)


def main():
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--state", action="append", choices=("catching-up", "live", "burst"))
    options.add_argument("--mix", action="append", choices=("scans", "orders", "everything"))
    options.add_argument("--runs", type=int, default=3)
    options.add_argument("--rate", type=int, default=20_000, help="events a second of live and burst")
    options.add_argument("--seconds", type=int, default=20, help="seconds for which events are sent")
    options.add_argument("--partitions", default="16,8,4,8", help="of scans, draws, awards and facts")
    options.add_argument("--warm-up", type=int, default=60, help="seconds of load before all runs, for Java's compiler")
    options.add_argument("--mashang", action="append", type=Path, help="a build; give two to compare them in turn")
    options.add_argument("--bench", type=Path, default=ROOT / "target/release/mashang-bench")
    options.add_argument("--dir", type=Path, default=ROOT / "target/fleet")
    options.add_argument("--port", type=int, default=29092, help="port of the broker")
    args = options.parse_args()
    builds = [str(build.resolve()) for build in args.mashang or [ROOT / "target/release/mashang"]]
    args.dir = args.dir.resolve()
    lock = args.dir.with_suffix(".lock").open("w")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        sys.exit(f"fleet.py: another run uses {args.dir}: wait for its end, or give --dir and --port")
    shutil.rmtree(args.dir, ignore_errors=True)
    args.dir.mkdir(parents=True)
    broker = Broker(args.dir, args.port)
    try:
        if args.warm_up:
            seconds, args.seconds = args.seconds, args.warm_up
            measure(args, broker, builds[0], "live", "scans")
            args.seconds = seconds
        for state in args.state or ("catching-up", "live", "burst"):
            for mix in args.mix or ("scans", "orders", "everything"):
                runs = {build: [] for build in builds}
                for _ in range(args.runs):
                    for build in builds:
                        figures, events = measure(args, broker, build, state, mix)
                        runs[build].append(figures)
                        print(f"{state}, {mix}, {Path(build).name}: {events} events", file=sys.stderr, flush=True)
                rate = "" if state == "catching-up" else f" at {args.rate:,} a second"
                report(f"{state}{rate}, {mix}: processor seconds a million events, unless another unit is named", builds, runs)
    finally:
        broker.stop()
        shutil.rmtree(args.dir, ignore_errors=True)


if __name__ == "__main__":
    main()
