//! A fleet of one's own: roles that can be killed, frozen and started again under their names.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::Value;
use testkit::process::{Process, Signal};

use crate::program::{TABLES, done, done_with, mashang};
use crate::serve::server::{Answer, get, post};

/// Maximum time of every wait in these tests; beyond it the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// Where edges listen, by name: they move when they are started again.
pub(crate) type Addresses = Arc<Mutex<BTreeMap<String, String>>>;

/// The options of a deployment.
pub(crate) struct Made<'a> {
    pub(crate) kafka: &'a str,
    pub(crate) prefix: &'a str,
    pub(crate) ledger: &'a str,
    pub(crate) rules: &'a str,
    pub(crate) clock: &'a str,
    /// Partitions of scans, draws, awards and facts.
    pub(crate) partitions: [u16; 4],
    /// Replication, and how many must have a record.
    pub(crate) copies: [u16; 2],
}

pub(crate) struct Fleet {
    pub(crate) dir: PathBuf,
    pub(crate) kafka: String,
    pub(crate) prefix: String,
    pub(crate) ledger: String,
    rules: String,
    store: String,
    environment: Vec<(&'static str, String)>,
    partitions: usize,
    roles: BTreeMap<String, Role>,
    pub(crate) doors: Addresses,
}

struct Role {
    args: Vec<String>,
    process: Process,
    admin: String,
    http: Option<String>,
}

impl Fleet {
    /// Makes topics and publishes rules; no role runs yet.
    pub(crate) fn make(dir: &Path, made: &Made<'_>) -> Self {
        Self::make_with(dir, made, "file:store", &[])
    }

    /// The same with another store, which may need more in the environment.
    pub(crate) fn make_with(dir: &Path, made: &Made<'_>, store: &str, environment: &[(&'static str, String)]) -> Self {
        let fleet = Self {
            dir: dir.to_owned(),
            kafka: made.kafka.to_owned(),
            prefix: made.prefix.to_owned(),
            ledger: made.ledger.to_owned(),
            rules: made.rules.to_owned(),
            store: store.to_owned(),
            environment: environment.to_vec(),
            partitions: made.partitions.iter().map(|&n| usize::from(n)).sum(),
            roles: BTreeMap::new(),
            doors: Addresses::default(),
        };
        let [scans, draws, awards, facts] = made.partitions.map(|n| n.to_string());
        let [replication, insync] = made.copies.map(|n| n.to_string());
        let options = ["--scans", &scans, "--draws", &draws, "--awards", &awards, "--facts", &facts];
        let copies = ["--replication", &replication, "--min-insync", &insync, "--clock", made.clock];
        done(dir, &[&["topics", "create"], &fleet.log()[..], &options, &copies].concat());
        let publish = [&["rules", "publish", made.rules], &fleet.log()[..], &fleet.store()].concat();
        let printed = done_with(dir, &publish, environment);
        assert!(printed.contains("published, number 1"), "{printed}");
        fleet
    }

    pub(crate) fn log(&self) -> [&str; 4] {
        ["--kafka", &self.kafka, "--prefix", &self.prefix]
    }

    pub(crate) fn store(&self) -> [&str; 2] {
        ["--store", &self.store]
    }

    /// Starts a role under a name, `edge-1`, with more arguments, and waits until it is at work.
    pub(crate) fn start(&mut self, name: &str, more: &[&str]) {
        let kind = name.split('-').next().expect("a kind");
        let mut args: Vec<&str> = vec![kind, "--log-format", "json"];
        for place in ["--admin", "--http"] {
            if !more.contains(&place) && (place == "--admin" || ["edge", "console"].contains(&kind)) {
                args.extend([place, "127.0.0.1:0"]);
            }
        }
        if !more.contains(&"--instance") {
            args.extend(["--instance", name]);
        }
        args.extend(self.log());
        match kind {
            "edge" => args.extend(self.store()),
            "worker" => {
                args.extend(self.store());
                args.extend(["--session-timeout", "6s"]);
            }
            "ledger" => args.extend(["--ledger", &self.ledger, "--session-timeout", "6s"]),
            "console" => args.extend(["--ledger", &self.ledger]),
            _ => panic!("no role is a {kind}"),
        }
        args.extend(more);
        if kind == "edge" && !more.contains(&"--udp") {
            args.extend(["--udp", "none"]);
        }
        let args: Vec<String> = args.into_iter().map(ToOwned::to_owned).collect();
        self.launch(name, args);
    }

    fn launch(&mut self, name: &str, args: Vec<String>) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mashang"));
        command.args(&args).current_dir(&self.dir).envs(self.environment.iter().map(|(name, value)| (name, value)));
        let mut process = Process::start(&command, &self.dir.join(format!("{name}.log"))).expect("the binary runs");
        let ready = |line: &str| {
            let fields = serde_json::from_str::<Value>(line).ok()?["fields"].clone();
            let address = |key: &str| fields[key].as_str().map(|address| format!("http://{address}"));
            (fields["message"] == "ready").then(|| (address("admin"), address("http")))
        };
        let (admin, http) = process.line(PATIENCE, ready).unwrap_or_else(|told| panic!("{name} is not ready: {told}"));
        let admin = admin.expect("an admin port");
        if let (true, Some(http)) = (name.starts_with("edge"), &http) {
            self.doors.lock().insert(name.to_owned(), http.clone());
        }
        self.roles.insert(name.to_owned(), Role { args, process, admin, http });
    }

    /// Starts a role that was killed or stopped again, as it was.
    pub(crate) fn restart(&mut self, name: &str) {
        let args = self.roles.remove(name).expect("a role").args;
        self.launch(name, args);
    }

    /// SIGKILL.
    pub(crate) fn kill(&mut self, name: &str) {
        self.role(name).process.kill();
        self.doors.lock().remove(name);
    }

    /// SIGTERM, for [`Fleet::restart`].
    pub(crate) fn end(&mut self, name: &str) {
        let role = self.role(name);
        let ended = role.process.stop(PATIENCE);
        assert!(ended.is_some_and(|status| status.success()), "{name}: {ended:?}: {}", role.process.output());
    }

    /// Sends SIGTERM and removes the role; returns its output.
    pub(crate) fn stop(&mut self, name: &str) -> String {
        self.end(name);
        let role = self.roles.remove(name).expect("a role");
        self.doors.lock().remove(name);
        role.process.output()
    }

    /// SIGTERM, however it ends.
    pub(crate) fn remove(&mut self, name: &str) {
        let mut role = self.roles.remove(name).expect("a role");
        if role.process.ended().is_none() {
            assert!(role.process.stop(PATIENCE).is_some(), "{name} does not end: {}", role.process.output());
        }
    }

    pub(crate) fn signal(&mut self, name: &str, signal: Signal) {
        self.role(name).process.signal(signal);
    }

    /// How it ended, if it did.
    pub(crate) fn ended(&mut self, name: &str) -> Option<std::process::ExitStatus> {
        self.role(name).process.ended()
    }

    /// Restarts roles that ended by themselves, as a supervisor does; returns how they ended, and the end of their output.
    pub(crate) fn revive(&mut self) -> Vec<String> {
        let names: Vec<String> = self.roles.keys().cloned().collect();
        let mut told = Vec::new();
        for name in names {
            if let Some(status) = self.ended(&name) {
                told.push(format!("{name} had ended by itself, {status}: {}", self.tail(&name)));
                self.restart(&name);
            }
        }
        told
    }

    pub(crate) fn output(&self, name: &str) -> String {
        self.roles[name].process.output()
    }

    fn role(&mut self, name: &str) -> &mut Role {
        self.roles.get_mut(name).unwrap_or_else(|| panic!("no role is called {name}"))
    }

    pub(crate) fn names(&self, kind: &str) -> Vec<String> {
        self.roles.keys().filter(|name| name.starts_with(kind)).cloned().collect()
    }

    pub(crate) fn http(&self, name: &str) -> &str {
        self.roles[name].http.as_deref().expect("a door")
    }

    /// The most memory that a role ever had, in bytes.
    pub(crate) fn most_memory(&self, name: &str) -> u64 {
        let status = format!("/proc/{}/status", self.roles[name].process.id());
        let status = std::fs::read_to_string(status).expect("it runs");
        let most = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
        most.expect("a line of it").trim().parse::<u64>().expect("a number") * 1024
    }

    /// An answer of a role's admin port.
    pub(crate) fn admin(&self, name: &str, path: &str) -> Result<Answer, ureq::Error> {
        get(&format!("{}{path}", self.roles[name].admin), None)
    }

    /// All lines of a metric, over all roles of a kind.
    pub(crate) fn metric(&self, kind: &str, metric: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for name in self.names(kind) {
            if let Ok(answer) = self.admin(&name, "/metrics") {
                lines.extend(answer.body.lines().filter(|line| line.starts_with(metric)).map(ToOwned::to_owned));
            }
        }
        lines
    }

    /// Waits until everything that was accepted is in the ledger: every partition has an owner, and none lags.
    pub(crate) fn settle(&self, patience: Duration) {
        let until = Instant::now() + patience;
        let mut calm = 0;
        while calm < 2 {
            let mut lags = self.metric("worker", "mashang_lag_frames{");
            lags.extend(self.metric("ledger", "mashang_lag_frames{"));
            let waiting: Vec<&String> = lags.iter().filter(|line| !line.ends_with(" 0")).collect();
            calm = if lags.len() == self.partitions && waiting.is_empty() { calm + 1 } else { 0 };
            if Instant::now() > until {
                let told: Vec<String> = self.roles.keys().map(|name| self.tail(name)).collect();
                panic!(
                    "it does not come to rest: {} of {} lags, {waiting:?}\n{}",
                    lags.len(),
                    self.partitions,
                    told.join("\n")
                );
            }
            std::thread::sleep(Duration::from_millis(300));
        }
    }

    /// The end of a role's output.
    fn tail(&self, name: &str) -> String {
        let told = self.output(name);
        let lines: Vec<&str> = told.lines().collect();
        format!("== {name}\n{}", lines[lines.len().saturating_sub(12)..].join("\n"))
    }

    /// Every table of the ledger is that of a run over the fleet's own log dump.
    pub(crate) fn equals_a_run_over_its_dump(&self) {
        let dump = done(&self.dir, &[&["log", "dump"], &self.log()[..]].concat());
        std::fs::write(self.dir.join("dump.ndjson"), dump).expect("a file");
        done(&self.dir, &["run", "--rules", &self.rules, "--events", "dump.ndjson", "--out", "again"]);
        for table in TABLES {
            let [found, wanted] = [self.ledger.as_str(), "again/ledger.sqlite"]
                .map(|ledger| done(&self.dir, &["export", table, "--ledger", ledger]));
            if found != wanted {
                let at = |text: &str| text.lines().map(ToOwned::to_owned).collect::<Vec<_>>();
                let (found, wanted) = (at(&found), at(&wanted));
                let missing: Vec<_> = wanted.iter().filter(|line| !found.contains(line)).take(5).collect();
                let more: Vec<_> = found.iter().filter(|line| !wanted.contains(line)).take(5).collect();
                let (f, w) = (found.len(), wanted.len());
                panic!("{table}: {f} rows, a run over the dump has {w}; missing {missing:#?}, more {more:#?}");
            }
        }
    }

    /// The ids of the events in the dump; each accepted event must be among them.
    pub(crate) fn dumped_ids(&self) -> std::collections::BTreeSet<String> {
        let dump = std::fs::read_to_string(self.dir.join("dump.ndjson")).expect("a dump");
        let id =
            |line: &str| serde_json::from_str::<Value>(line).expect("JSON")["id"].as_str().expect("an id").to_owned();
        dump.lines().map(id).collect()
    }

    /// Waits until the archive alone gives what the log gave, and verifies it.
    pub(crate) fn has_archived_its_dump(&self, archive: &str, patience: Duration) {
        let dump = std::fs::read_to_string(self.dir.join("dump.ndjson")).expect("a dump");
        let until = Instant::now() + patience;
        let found = loop {
            let found = done_with(&self.dir, &["log", "dump", "--archive", archive], &self.environment);
            if found.len() >= dump.len() || Instant::now() > until {
                break found;
            }
            std::thread::sleep(Duration::from_secs(1));
        };
        assert!(found == dump, "the archive gives {} bytes, the log {}", found.len(), dump.len());
        let told = done_with(&self.dir, &["archive", "verify", "--archive", archive], &self.environment);
        assert!(told.lines().all(|line| line.ends_with(": good")), "{told}");
    }

    /// Runs the binary against this fleet; how it ended, and what it printed on both outputs.
    pub(crate) fn command(&self, args: &[&str]) -> (Option<i32>, String) {
        let output = mashang(&self.dir, args);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }
}

/// Sends batches in order, each until some edge answers 202, as long as `each` wants more. Says how many were sent more than
/// once.
pub(crate) fn send(doors: &Addresses, batches: &[String], each: impl Fn(usize) -> bool) -> usize {
    let mut again = 0;
    for (number, batch) in batches.iter().enumerate() {
        let until = Instant::now() + PATIENCE;
        let mut tries: usize = 0;
        loop {
            let doors: Vec<String> = doors.lock().values().cloned().collect();
            tries += 1;
            if !doors.is_empty() {
                match post(&doors[(number + tries) % doors.len()], "application/x-ndjson", batch.as_bytes(), None) {
                    Ok(answer) if answer.status == 202 => break,
                    Ok(answer) => assert_eq!(answer.status, 503, "{answer:?}"),
                    Err(_) => {}
                }
            }
            assert!(Instant::now() < until, "no edge takes batch {number}");
            std::thread::sleep(Duration::from_millis(20));
        }
        again += usize::from(tries > 1);
        if !each(number) {
            break;
        }
    }
    again
}
