//! Whole runs over loopback against a stub of an edge that sheds, breaks off and loses on purpose.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Result, bail};
use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, RETRY_AFTER};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::args::LoadArgs;
use super::report::{Ledger, Report};
use super::tally::lock;

/// What the stub does wrong; 0 is never.
#[derive(Clone, Copy, Default)]
struct Faults {
    /// Every so many requests it answers 503 and takes nothing.
    shed_every: u64,
    /// Every so many requests it takes all, and closes without an answer.
    break_every: u64,
    /// Scans that it answers and does not count.
    lose: i64,
    refuse: bool,
    /// Before each answer.
    slow_ms: u64,
    /// What `/metrics` shows for ever.
    lag: u64,
}

/// An edge, its admin port and its ledger in one.
struct Stub {
    faults: Faults,
    file: PathBuf,
    taken: Mutex<Taken>,
}

#[derive(Default)]
struct Taken {
    requests: u64,
    /// (shopper, id)
    ids: HashSet<(String, String)>,
    counters: BTreeMap<String, i64>,
    /// Results asked for, the first time of which is answered as pending.
    asked: HashSet<String>,
}

impl Stub {
    async fn start(faults: Faults, file: &Path) -> (Arc<Self>, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let stub = Arc::new(Self { faults, file: file.to_owned(), taken: Mutex::default() });
        let serving = Arc::clone(&stub);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).expect("a socket");
                let stub = Arc::clone(&serving);
                let service = service_fn(move |request| Arc::clone(&stub).answer(request));
                tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
            }
        });
        (stub, url)
    }

    /// An error closes the connection.
    async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Result<Response<Full<Bytes>>> {
        let path = request.uri().path().to_owned();
        if path == "/metrics" {
            return Ok(self.metrics());
        }
        if let Some(id) = path.strip_prefix("/v1/results/") {
            let state = if lock(&self.taken).asked.insert(id.to_owned()) { "pending" } else { "counted" };
            return Ok(said(200, &json!({"id": id, "state": state})));
        }
        let media = request.headers()[CONTENT_TYPE].clone();
        let body = request.into_body().collect().await?.to_bytes();
        tokio::time::sleep(Duration::from_millis(self.faults.slow_ms)).await;
        let mut taken = lock(&self.taken);
        taken.requests += 1;
        let is_turn = |every: u64| every > 0 && taken.requests.is_multiple_of(every);
        let (shed, breaks) = (is_turn(self.faults.shed_every), is_turn(self.faults.break_every));
        if shed {
            let mut response = said(503, &json!({"title": "busy"}));
            response.headers_mut().insert(RETRY_AFTER, 0.into());
            return Ok(response);
        }
        if self.faults.refuse {
            return Ok(said(
                400,
                &json!({"accepted": 0, "rejected": [{"index": 0, "error": "the code is not known"}]}),
            ));
        }
        let count = take(&mut taken, &body);
        assert_eq!(media, if count == 1 { "application/json" } else { "application/x-ndjson" });
        if breaks {
            bail!("closed on purpose");
        }
        Ok(said(202, &json!({"accepted": count, "durable": "log", "rejected": []})))
    }

    /// Writes the ledger, so that it shows all that was taken when no lag is shown.
    fn metrics(&self) -> Response<Full<Bytes>> {
        let db = rusqlite::Connection::open(&self.file).expect("a ledger");
        db.execute_batch(
            "CREATE TABLE IF NOT EXISTS counters(merchant TEXT, scope TEXT, key TEXT, day INTEGER, metric TEXT, facts INTEGER,
             value INTEGER NOT NULL, PRIMARY KEY(merchant, scope, key, day, metric, facts)) WITHOUT ROWID, STRICT;",
        )
        .expect("a table");
        for (metric, value) in &lock(&self.taken).counters {
            let value = value - if metric == "scans" { self.faults.lose } else { 0 };
            db.execute("REPLACE INTO counters VALUES ('acme', 'merchant', '*', 1, ?1, 0, ?2)", (metric, value))
                .expect("a row");
        }
        let lag = self.faults.lag;
        let text = format!("# a comment\nmashang_lag_frames{{stage=\"ledger\",partition=\"0\"}} {lag}\n");
        Response::new(Full::new(text.into()))
    }
}

/// Counts each event of a body under its action, or under `duplicates` if it was there before.
fn take(taken: &mut Taken, body: &[u8]) -> usize {
    let mut count = 0;
    for event in serde_json::Deserializer::from_slice(body).into_iter::<Value>() {
        let event = event.expect("JSON");
        let text = |name: &str| event[name].as_str().expect("a text").to_owned();
        let metric = if taken.ids.insert((text("shopper"), text("id"))) {
            text("action") + "s"
        } else {
            "duplicates".to_owned()
        };
        *taken.counters.entry(metric).or_default() += 1;
        count += 1;
    }
    count
}

fn said(status: u16, body: &Value) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::new(body.to_string().into())).expect("a response")
}

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    load: LoadArgs,
}

/// A run of one second without warm-up, against such a stub.
async fn run(faults: Faults, options: &str) -> (Result<Report>, Arc<Stub>) {
    run_at(None, faults, options).await
}

async fn run_at(url: Option<&str>, faults: Faults, options: &str) -> (Result<Report>, Arc<Stub>) {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("ledger.sqlite");
    let (stub, admin) = Stub::start(faults, &file).await;
    let url = url.unwrap_or(&admin);
    let ledger = file.display().to_string();
    let given = ["load", "--merchant", "acme", "--seconds", "1", "--warmup", "0", "--seed", "7"];
    let given = given.into_iter().chain(["--url", url, "--admin", &admin, "--ledger", &ledger]);
    let cli = Cli::try_parse_from(given.chain(options.split_whitespace())).expect("options");
    (super::load(&cli.load).await, stub)
}

fn counted(stub: &Stub) -> i64 {
    lock(&stub.taken).counters.values().sum()
}

#[tokio::test]
async fn every_event_is_accepted_once_though_shed_and_broken_off() {
    let faults = Faults { shed_every: 50, break_every: 70, ..Faults::default() };
    let (report, stub) =
        run(faults, "--rate 2000 --connections 8 --duplicates 1/20 --action-mix scan=6,visit=3,order=1").await;
    let report = report.expect("a report");
    assert_eq!(report.failures, [""; 0]);
    assert_eq!(report.ledger, Ledger::Right);
    assert_eq!((report.sent, report.accepted, report.lost, report.unsent), (2_000, 2_000, 0, 0));
    assert_eq!((report.measured, report.ack.count, report.client_wait.count), (2_000, 2_000, 2_000));
    assert!(report.shed_requests > 0 && report.broken_requests > 0 && report.duplicates > 0);
    assert_eq!(report.resent, report.shed_requests + report.broken_requests);
    let taken = lock(&stub.taken);
    assert_eq!(taken.ids.len() as u64 + report.duplicates, 2_000);
    assert_eq!(taken.requests, 2_000 + report.resent);
    assert_eq!(taken.counters.len(), 4, "{:?}", taken.counters);
}

#[tokio::test]
async fn batches_at_random_times_and_their_results() {
    let options =
        "--rate 5000 --batch 50 --arrivals poisson --connections 4 --results 1/10 --result-connections 2 --clock event";
    let (report, stub) = run(Faults { shed_every: 9, ..Faults::default() }, options).await;
    let report = report.expect("a report");
    assert_eq!(report.failures, [""; 0]);
    assert_eq!(report.ledger, Ledger::Right);
    assert_eq!(report.accepted, report.sent);
    assert_eq!(report.accepted, report.ack.count * 50);
    assert_eq!(report.resent, report.shed_requests * 50);
    assert_eq!(i64::try_from(report.accepted), Ok(counted(&stub)));
    assert!(report.result.count > 0);
    assert_eq!(report.results_pending, 0);
}

#[tokio::test]
async fn a_closed_loop_ends_by_itself() {
    let (report, stub) = run(Faults::default(), "--closed --connections 2 --batch 10 --duplicates 10%").await;
    let report = report.expect("a report");
    assert_eq!(report.failures, [""; 0]);
    assert_eq!(report.ledger, Ledger::Right);
    assert_eq!(i64::try_from(report.accepted), Ok(counted(&stub)));
    assert!(report.accepted > 0 && report.unsent == 0);
}

#[tokio::test]
async fn a_ledger_that_lost_one_is_told() {
    let (report, _) = run(Faults { lose: 1, ..Faults::default() }, "--rate 100 --connections 2").await;
    let report = report.expect("a report");
    assert_eq!(report.ledger, Ledger::Wrong);
    assert!(report.failures.len() == 1 && report.failures[0].ends_with(": 1 lost"), "{:?}", report.failures);
}

#[tokio::test]
async fn a_refusal_ends_the_run() {
    let (report, _) = run(Faults { refuse: true, ..Faults::default() }, "--rate 100 --connections 2").await;
    let report = report.expect("a report");
    assert_eq!(report.ledger, Ledger::NotChecked);
    assert!(report.rejected > 0 && report.accepted == 0);
    assert!(report.failures[0].contains("the code is not known"), "{:?}", report.failures);
}

#[tokio::test]
async fn waiting_for_a_connection_counts_as_latency() {
    let faults = Faults { slow_ms: 50, ..Faults::default() };
    let (report, _) = run(faults, "--rate 1000 --connections 1 --drain 1").await;
    let report = report.expect("a report");
    assert_eq!(report.sent + report.unsent, 1_000);
    assert!(report.unsent > 0 && report.sent > 1);
    // One after the other, 50 ms each, due 1 ms apart: number n is answered no sooner than 50 n ms, due at n - 1 ms.
    assert!(report.ack.max_us >= report.ack.count * 49_000 * 99 / 100, "{:?}", report.ack);
}

#[tokio::test]
async fn nobody_there() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let url = format!("http://{closed}");
    let (report, _) = run_at(Some(&url), Faults::default(), "--rate 10 --connections 2 --retry-for 1").await;
    let report = report.expect("a report");
    assert!(report.lost > 0 && report.accepted == 0);
    assert!(report.failures[0].contains("cannot connect"), "{:?}", report.failures);
}

#[tokio::test]
async fn a_lag_that_stays_is_told() {
    let (report, _) = run(Faults { lag: 3, ..Faults::default() }, "--rate 10 --drain 1").await;
    let error = report.expect_err("an error").to_string();
    assert!(error.contains("after 1 s") && error.contains("partition=\"0\"} 3"), "{error}");
}
