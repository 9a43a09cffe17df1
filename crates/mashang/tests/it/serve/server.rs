//! A service of one's own, and questions to it.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use serde_json::Value;

/// Maximum time of every wait in these tests; beyond it the test fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// A running service.
pub(crate) struct Server {
    child: Child,
    pub(crate) http: String,
    pub(crate) admin: String,
    /// Where it takes datagrams, if it does.
    pub(crate) udp: Option<SocketAddr>,
    /// Its log messages, a JSON object per line.
    told: Receiver<String>,
}

/// An answer over HTTP.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<String>,
    pub(crate) ratelimit: Option<String>,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {}", self.body))
    }
}

/// The binary, with the arguments that every service of these tests has.
pub(crate) fn binary() -> Command {
    Command::new(env!("CARGO_BIN_EXE_mashang"))
}

impl Server {
    /// Starts `serve` in a directory with `rules.toml`, on free ports, with more arguments.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        let none: &[&str] = if more.contains(&"--udp") { &[] } else { &["--udp", "none"] };
        Self::start_with(binary(), dir, &[more, none].concat())
    }

    pub(crate) fn start_with(mut command: Command, dir: &Path, more: &[&str]) -> Self {
        let args = ["serve", "--log-format", "json"];
        command.args(args).args(more).current_dir(dir).stdout(Stdio::null()).stderr(Stdio::piped());
        let local = "127.0.0.1:0";
        for (option, value) in [("--http", local), ("--admin", local), ("--data", "data"), ("--rules", "rules.toml")] {
            if !more.contains(&option) {
                command.args([option, value]);
            }
        }
        let mut child = command.spawn().expect("the binary runs");
        let stderr = BufReader::new(child.stderr.take().expect("a pipe"));
        let (tell, told) = channel();
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let _ = tell.send(line);
            }
        });
        let mut before = String::new();
        loop {
            let Ok(line) = told.recv_timeout(PATIENCE) else {
                let _ = child.kill();
                let _ = child.wait();
                panic!("not ready; it told:\n{before}");
            };
            let fields = serde_json::from_str::<Value>(&line).map(|v| v["fields"].clone()).unwrap_or_default();
            if fields["message"] == "ready" {
                let address = |key: &str| format!("http://{}", fields[key].as_str().expect("an address"));
                let udp = fields["udp"].as_str().map(|text| text.parse().expect("an address"));
                return Self { child, http: address("http"), admin: address("admin"), udp, told };
            }
            before.push_str(&line);
            before.push('\n');
        }
    }

    pub(crate) fn post(&self, content_type: &str, body: &[u8]) -> Result<Answer, ureq::Error> {
        post(&self.http, content_type, body, None)
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        get(&format!("{}{path}", self.http), None).expect("an answer")
    }

    /// A metric with its labels as they stand; 0 if it is not there.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = get(&format!("{}/metrics", self.admin), None).expect("metrics").body;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.map_or(0, |value| value.parse().expect("an integer"))
    }

    /// The sum of a metric over all its labels.
    pub(crate) fn sum(&self, name: &str) -> u64 {
        let text = get(&format!("{}/metrics", self.admin), None).expect("metrics").body;
        let lines = text.lines().filter_map(|line| line.strip_prefix(name).filter(|rest| rest.starts_with([' ', '{'])));
        lines.map(|rest| rest.rsplit(' ').next().and_then(|n| n.parse::<u64>().ok()).expect("an integer")).sum()
    }

    /// Waits until everything that was accepted is in the ledger.
    pub(crate) fn settle(&self) {
        let until = Instant::now() + PATIENCE;
        loop {
            let text = get(&format!("{}/metrics", self.admin), None).expect("metrics").body;
            let lags: Vec<&str> = text.lines().filter(|l| l.starts_with("mashang_lag_frames{")).collect();
            assert!(!lags.is_empty());
            if lags.iter().all(|line| line.ends_with(" 0")) {
                return;
            }
            assert!(Instant::now() < until, "{lags:?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits for a log message with this text; earlier messages are dropped.
    pub(crate) fn hears(&self, text: &str) -> String {
        loop {
            let line = self.told.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("it does not tell: {text}"));
            if line.contains(text) {
                return line;
            }
        }
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("it runs");
        self.child.wait().expect("it ends");
    }

    /// Sends SIGTERM; returns the exit status and the log messages.
    pub(crate) fn stop(mut self) -> (ExitStatus, String) {
        let done = Command::new("kill").args(["-TERM", &self.child.id().to_string()]).status().expect("kill runs");
        assert!(done.success());
        self.wait()
    }

    /// Waits until the process ends; returns the exit status and the log messages.
    pub(crate) fn wait(&mut self) -> (ExitStatus, String) {
        let until = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (status, self.told.iter().collect::<Vec<_>>().join("\n"));
            }
            assert!(Instant::now() < until, "it does not end");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn agent() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE)).build().into()
}

/// Posts a body to the ingest service.
pub(crate) fn post(http: &str, content_type: &str, body: &[u8], key: Option<&str>) -> Result<Answer, ureq::Error> {
    let bearer = key.map(|key| format!("Bearer {key}"));
    let bearer = bearer.as_ref().map(|bearer| ("Authorization", bearer.as_str()));
    let headers: Vec<_> = [("Content-Type", content_type)].into_iter().chain(bearer).collect();
    send(http, &headers, body)
}

/// Posts a body with these headers to the ingest service.
pub(crate) fn send(http: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<Answer, ureq::Error> {
    let request = agent().post(format!("{http}/v1/events"));
    headers.iter().fold(request, |request, (name, value)| request.header(*name, *value)).send(body).map(answer)
}

pub(crate) fn get(url: &str, key: Option<&str>) -> Result<Answer, ureq::Error> {
    let mut request = agent().get(url);
    if let Some(key) = key {
        request = request.header("Authorization", format!("Bearer {key}"));
    }
    request.call().map(answer)
}

fn answer(mut response: ureq::http::Response<ureq::Body>) -> Answer {
    let header = |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(ToOwned::to_owned);
    let (retry_after, ratelimit) = (header("retry-after"), header("ratelimit"));
    let content_type = header("content-type").unwrap_or_default();
    let status = response.status().as_u16();
    let body = response.body_mut().with_config().limit(64 << 20).read_to_string().unwrap_or_default();
    Answer { status, retry_after, ratelimit, content_type, body }
}
