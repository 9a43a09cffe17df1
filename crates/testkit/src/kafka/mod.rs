//! Kafka clusters of one or three brokers on loopback; each broker is also a controller.
//!
//! Settings are those of `deploy/kafka`, and those that a test adds. Brokers end with the test binary in any case. A broker needs
//! about 200 MB of memory at its start, and at most its heap and 200 MB. On two idle cores one broker is ready after 3 s, three
//! after 8 s. A killed broker is ready again no sooner than `broker.session.timeout.ms`, 4 s, after its last heartbeat.

mod broker;
mod home;
mod jars;
mod probe;
mod secure;

use std::path::PathBuf;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::{Mutex, MutexGuard};

pub use self::secure::Secure;

use self::broker::{Broker, Ports};
use self::home::Home;
use self::jars::Jars;
use crate::process::Signal;
use crate::relay::Relay;
use crate::relay::plan::Plan;

/// The options of a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Number of brokers, 1 or 3. Three store every record three times, and acknowledge it when two hold it.
    pub brokers: u32,
    /// More settings of every broker, which override ours.
    pub properties: Vec<(String, String)>,
    /// Directories for the records of single brokers (1, 2, 3), for example on a small disk.
    pub log_dirs: Vec<(u32, PathBuf)>,
    /// Another listener behind a relay, [`Kafka::relayed`].
    pub relay: bool,
    /// Listeners with TLS and with TLS and SASL, [`Kafka::secure`].
    pub secure: bool,
    /// Heap of each broker, MiB.
    pub heap_mb: u32,
    /// Whether Java's optimising compiler is used, for benches. A start then takes twice the processor time.
    pub fast: bool,
}

impl Default for Options {
    fn default() -> Self {
        let (properties, log_dirs) = (Vec::new(), Vec::new());
        Self { brokers: 1, properties, log_dirs, relay: false, secure: false, heap_mb: 512, fast: false }
    }
}

/// A running cluster. Brokers are named 1, 2, 3.
#[derive(Debug)]
pub struct Kafka {
    brokers: Vec<Mutex<Broker>>,
    bootstrap: String,
    relays: Vec<Relay>,
    plan: Plan,
    secure: Option<Secure>,
    log_dirs: Vec<PathBuf>,
    jars: Jars,
    // The last field, so that it is removed after the brokers have ended.
    home: Home,
}

impl Kafka {
    /// The cluster that the tests of this binary share: one broker with a relay. `None` if Kafka is missing. Tests use topics and
    /// client ids of their own, and do not disturb the broker.
    ///
    /// # Panics
    /// As [`Kafka::start`].
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Kafka>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Options { relay: true, ..Options::default() })).as_ref()
    }

    /// Starts a new cluster and waits until it serves clients. If Java or the jars are missing, it prints so and returns `None`.
    ///
    /// # Panics
    /// If the cluster does not start, with its output; or if something is missing and `MASHANG_NO_SKIP` is set.
    #[must_use]
    pub fn start(options: &Options) -> Option<Self> {
        assert!(matches!(options.brokers, 1 | 3), "{} brokers: 1 or 3", options.brokers);
        let jars = match Jars::find() {
            Ok(jars) => jars,
            Err(missing) => {
                assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "no Kafka: {missing}");
                eprintln!("skipped: {missing}");
                return None;
            }
        };
        let home = Home::new();
        let ports: Vec<Ports> = (0..options.brokers).map(|_| Ports::take(options)).collect();
        let addresses = |port: &dyn Fn(&Ports) -> Option<String>| -> String {
            ports.iter().filter_map(port).collect::<Vec<_>>().join(",")
        };
        let bootstrap = addresses(&|ports| Some(ports.client.address()));
        let secure = options.secure.then(|| {
            let sasl = addresses(&|ports| Some(ports.sasl.as_ref()?.address()));
            let tls = addresses(&|ports| Some(ports.tls.as_ref()?.address()));
            Secure::make(home.path(), sasl, tls)
        });
        let plan = Plan::default();
        let relayed = ports.iter().filter_map(|ports| ports.relay.as_ref());
        let relays =
            relayed.map(|(relay, behind)| Relay::start(relay.number(), behind.number(), plan.clone())).collect();
        let brokers = format_all(ports, &jars, &home, options);
        let kafka = Self {
            log_dirs: brokers.iter().map(|broker| broker.data(options)).collect(),
            brokers: brokers.into_iter().map(Mutex::new).collect(),
            bootstrap,
            relays,
            plan,
            secure,
            jars,
            home,
        };
        kafka.start_all();
        Some(kafka)
    }

    /// `bootstrap.servers` of the listener without relay, TLS and users.
    #[must_use]
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// `bootstrap.servers` of the listener behind the relay.
    ///
    /// # Panics
    /// If the cluster was started without a relay.
    #[must_use]
    pub fn relayed(&self) -> String {
        assert!(!self.relays.is_empty(), "the cluster was started without a relay");
        self.relays.iter().map(Relay::address).collect::<Vec<_>>().join(",")
    }

    /// The plan of all relays.
    #[must_use]
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The relay in front of a broker.
    ///
    /// # Panics
    /// If the cluster was started without a relay.
    #[must_use]
    pub fn relay(&self, broker: u32) -> &Relay {
        &self.relays[index(broker)]
    }

    /// The listeners with TLS, if the cluster was started with them.
    #[must_use]
    pub fn secure(&self) -> Option<&Secure> {
        self.secure.as_ref()
    }

    /// The directory of a broker's records.
    #[must_use]
    pub fn data_dir(&self, broker: u32) -> &PathBuf {
        &self.log_dirs[index(broker)]
    }

    /// The output of a broker since the start of the cluster.
    #[must_use]
    pub fn output(&self, broker: u32) -> String {
        self.broker(broker).output()
    }

    /// Whether a broker runs.
    #[must_use]
    pub fn runs(&self, broker: u32) -> bool {
        self.broker(broker).runs()
    }

    /// SIGKILL.
    pub fn kill(&self, broker: u32) {
        self.broker(broker).kill();
    }

    /// Sends SIGTERM and waits for the end.
    pub fn stop(&self, broker: u32) {
        self.broker(broker).stop();
    }

    /// Sends SIGSTOP: the broker keeps its connections, but does not answer.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pause(&self, broker: u32) {
        self.broker(broker).signal(Signal::Stop);
    }

    /// SIGCONT.
    ///
    /// # Panics
    /// If it does not run.
    pub fn resume(&self, broker: u32) {
        self.broker(broker).signal(Signal::Continue);
    }

    /// Stops a broker if it runs, starts it and waits until it serves clients. Of three brokers, two must then run.
    ///
    /// # Panics
    /// If the broker is not ready in time, with its output.
    pub fn restart(&self, broker: u32) {
        let mut broker = self.broker(broker);
        broker.stop();
        broker.start();
        broker.ready(1);
    }

    /// Starts all brokers that do not run, and waits until each knows all of them.
    ///
    /// # Panics
    /// If a broker is not ready in time, with its output.
    pub fn start_all(&self) {
        let count = u32::try_from(self.brokers.len()).expect("few brokers");
        (1..=count).for_each(|id| self.broker(id).start());
        (1..=count).for_each(|id| self.broker(id).ready(count));
    }

    /// A command that runs one of Kafka's programs, for example `org.apache.kafka.tools.TopicCommand`.
    #[must_use]
    pub fn tool(&self, class: &str) -> Command {
        let mut command = self.jars.quick(128, class);
        command.current_dir(self.home.path());
        command
    }

    fn broker(&self, id: u32) -> MutexGuard<'_, Broker> {
        self.brokers[index(id)].lock()
    }
}

fn index(broker: u32) -> usize {
    assert!(broker > 0, "brokers are named 1, 2, 3");
    broker as usize - 1
}

/// Formats all brokers in parallel, because each takes a second.
fn format_all(ports: Vec<Ports>, jars: &Jars, home: &Home, options: &Options) -> Vec<Broker> {
    let voters = (1..).zip(&ports).map(|(id, ports)| format!("{id}@{}", ports.controller.address()));
    let voters = voters.collect::<Vec<_>>().join(",");
    // 16 bytes in base 64, different for every cluster, in case one reaches the ports of another.
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970").as_nanos();
    let cluster = format!("{now:020}AA");
    let cluster = &cluster[..22];
    std::thread::scope(|scope| {
        let formatting: Vec<_> = (1..)
            .zip(ports)
            .map(|(id, ports)| {
                let voters = &voters;
                scope.spawn(move || Broker::format((id, ports, home.path()), (cluster, voters), jars, options))
            })
            .collect();
        formatting.into_iter().map(|broker| broker.join().expect("formatted")).collect()
    })
}
