//! One broker: its ports, its settings, its process.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::jars::Jars;
use super::secure::{self, Secure};
use super::{Options, probe};
use crate::ports::Port;
use crate::process::{Process, Signal};

/// Timeout of a broker's start and stop; after it, the start fails, and a stop kills the broker.
pub(super) const TIMEOUT: Duration = Duration::from_secs(90);

const MAIN: &str = "kafka.Kafka";

/// The ports of a broker, which stay reserved while it is down.
#[derive(Debug)]
pub(super) struct Ports {
    pub(super) client: Port,
    pub(super) controller: Port,
    /// The relay's port, and the broker's port behind it.
    pub(super) relay: Option<(Port, Port)>,
    pub(super) sasl: Option<Port>,
    pub(super) tls: Option<Port>,
}

struct Listener<'a> {
    name: &'static str,
    protocol: &'static str,
    /// The port on which the broker listens.
    own: &'a Port,
    /// The port that is advertised to clients, if any.
    advertised: Option<&'a Port>,
}

impl Ports {
    pub(super) fn take(options: &Options) -> Self {
        Self {
            client: Port::take(),
            controller: Port::take(),
            relay: options.relay.then(|| (Port::take(), Port::take())),
            sasl: options.secure.then(Port::take),
            tls: options.secure.then(Port::take),
        }
    }

    fn listeners(&self) -> Vec<Listener<'_>> {
        let listener = |name, protocol, own, advertised| Listener { name, protocol, own, advertised };
        let mut listeners = vec![
            listener("CONTROLLER", "PLAINTEXT", &self.controller, None),
            listener("CLIENT", "PLAINTEXT", &self.client, Some(&self.client)),
        ];
        let relay = self.relay.as_ref();
        listeners.extend(relay.map(|(relay, behind)| listener("RELAYED", "PLAINTEXT", behind, Some(relay))));
        listeners.extend(self.sasl.as_ref().map(|port| listener("SASL", "SASL_SSL", port, Some(port))));
        listeners.extend(self.tls.as_ref().map(|port| listener("TLS", "SSL", port, Some(port))));
        listeners
    }
}

#[derive(Debug)]
pub(super) struct Broker {
    pub(super) id: u32,
    pub(super) ports: Ports,
    jars: Jars,
    dir: PathBuf,
    heap_mb: u32,
    fast: bool,
    process: Option<Process>,
}

impl Broker {
    /// Writes the settings of a broker and formats its directories. `voters` is the cluster's `controller.quorum.voters`.
    ///
    /// # Panics
    /// If Kafka's own tool refuses them.
    pub(super) fn format(
        (id, ports, home): (u32, Ports, &Path),
        (cluster, voters): (&str, &str),
        jars: &Jars,
        options: &Options,
    ) -> Self {
        let dir = home.join(id.to_string());
        fs::create_dir_all(&dir).expect("a writable directory");
        let broker =
            Self { id, ports, jars: jars.clone(), dir, heap_mb: options.heap_mb, fast: options.fast, process: None };
        let settings = broker.settings(home, voters, options);
        fs::write(broker.dir.join("server.properties"), settings).expect("a writable directory");
        let mut tool = jars.quick(128, "kafka.tools.StorageTool");
        tool.args(["format", "--cluster-id", cluster, "--config"]).arg(broker.dir.join("server.properties"));
        if options.secure {
            tool.args(["--add-scram", &secure::scram()]);
        }
        let output = tool.output().expect("java runs");
        let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).concat();
        assert!(output.status.success(), "broker {id} is not formatted: {text}");
        broker
    }

    fn settings(&self, home: &Path, voters: &str, options: &Options) -> String {
        let listeners = self.ports.listeners();
        let each = |text: &dyn Fn(&Listener<'_>) -> Option<String>| -> String {
            listeners.iter().filter_map(text).collect::<Vec<_>>().join(",")
        };
        let copies = options.brokers.to_string();
        let in_sync = if options.brokers == 1 { "1" } else { "2" }.to_owned();
        let mut own = vec![
            ("process.roles", "broker,controller".to_owned()),
            ("node.id", self.id.to_string()),
            ("controller.quorum.voters", voters.to_owned()),
            ("controller.listener.names", "CONTROLLER".to_owned()),
            ("inter.broker.listener.name", "CLIENT".to_owned()),
            ("listeners", each(&|l| Some(format!("{}://{}", l.name, l.own.address())))),
            ("advertised.listeners", each(&|l| Some(format!("{}://{}", l.name, l.advertised?.address())))),
            ("listener.security.protocol.map", each(&|l| Some(format!("{}:{}", l.name, l.protocol)))),
            ("log.dirs", self.data(options).display().to_string()),
            // On another disk, so that a full disk of records does not stop the cluster's own log.
            ("metadata.log.dir", self.dir.join("metadata").display().to_string()),
            ("default.replication.factor", copies.clone()),
            ("min.insync.replicas", in_sync.clone()),
        ];
        for (factor, minimum) in [
            ("offsets.topic.replication.factor", None),
            ("transaction.state.log.replication.factor", Some("transaction.state.log.min.isr")),
            ("share.coordinator.state.topic.replication.factor", Some("share.coordinator.state.topic.min.isr")),
        ] {
            own.push((factor, copies.clone()));
            own.extend(minimum.map(|minimum| (minimum, in_sync.clone())));
        }
        let mut text = include_str!("../../../../deploy/kafka/broker.properties").to_owned();
        text.push_str(include_str!("../../../../deploy/kafka/local.properties"));
        let own = own.into_iter().map(|(key, value)| (key.to_owned(), value));
        let secure = if options.secure { Secure::properties(home) } else { Vec::new() };
        for (key, value) in own.chain(secure).chain(options.properties.iter().cloned()) {
            text.push_str(&format!("{key}={value}\n"));
        }
        text
    }

    /// The directory of the broker's records.
    pub(super) fn data(&self, options: &Options) -> PathBuf {
        let placed = options.log_dirs.iter().find(|(id, _)| *id == self.id);
        placed.map_or_else(|| self.dir.join("data"), |(_, dir)| dir.clone())
    }

    /// Starts the broker, if it does not run.
    pub(super) fn start(&mut self) {
        if self.runs() {
            return;
        }
        let mut command =
            if self.fast { self.jars.fast(self.heap_mb, MAIN) } else { self.jars.quick(self.heap_mb, MAIN) };
        command.arg(self.dir.join("server.properties")).current_dir(&self.dir);
        self.process = Some(Process::start(&command, &self.dir.join("out")).expect("java runs"));
    }

    /// Waits until this broker and `brokers` in all serve clients.
    ///
    /// # Panics
    /// If the broker ends or is not ready in time, with its output.
    pub(super) fn ready(&mut self, brokers: u32) {
        let until = Instant::now() + TIMEOUT;
        let mut last = String::new();
        loop {
            match probe::brokers(&self.ports.client.address()) {
                Ok(ids) if ids.len() >= brokers as usize && ids.contains(&self.id.cast_signed()) => return,
                Ok(ids) => last = format!("it knows the brokers {ids:?}"),
                Err(e) if last.is_empty() => last = e.to_string(),
                Err(_) => {}
            }
            if !self.runs() || Instant::now() >= until {
                panic!("broker {} is not ready: {last}; its output:\n{}", self.id, self.output());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    pub(super) fn runs(&mut self) -> bool {
        self.process.as_mut().is_some_and(|process| process.ended().is_none())
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) {
        self.process = None;
    }

    /// Sends SIGTERM, and SIGKILL after a timeout.
    pub(super) fn stop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.stop(TIMEOUT);
        }
    }

    pub(super) fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("the broker runs").signal(signal);
    }

    pub(super) fn output(&self) -> String {
        fs::read_to_string(self.dir.join("out")).unwrap_or_default()
    }
}
