//! Runs over HTTP.

use tokio::net::TcpListener;

use super::{Faults, counted, run, run_at};
use crate::load::report::Ledger;

#[tokio::test]
async fn every_event_is_accepted_once_despite_faults() {
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
    let taken = stub.taken.lock();
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
async fn refusal_ends_the_run() {
    let (report, _) = run(Faults { refuse: true, ..Faults::default() }, "--rate 100 --connections 2").await;
    let report = report.expect("a report");
    assert_eq!(report.ledger, Ledger::NotChecked);
    assert!(report.rejected > 0 && report.accepted == 0);
    assert!(report.failures[0].contains("the code is not known"), "{:?}", report.failures);
}

#[tokio::test]
async fn wait_for_a_connection_counts_as_latency() {
    let faults = Faults { slow_ms: 50, ..Faults::default() };
    let (report, _) = run(faults, "--rate 1000 --connections 1 --drain 1").await;
    let report = report.expect("a report");
    assert_eq!(report.sent + report.unsent, 1_000);
    assert!(report.unsent > 0 && report.sent > 1);
    // Requests run one after the other, 50 ms each, and are due 1 ms apart: number n is due at n - 1 ms, and answered at 50 n ms or
    // later.
    assert!(report.ack.max_us >= report.ack.count * 49_000 * 99 / 100, "{:?}", report.ack);
    // It does not count as the server's time.
    assert_eq!(report.answer.count, report.ack.count);
    assert!(report.answer.p50_us >= 49_000 && report.answer.p50_us < report.ack.max_us, "{:?}", report.answer);
}

#[tokio::test]
async fn run_without_a_server_fails() {
    let closed = TcpListener::bind("127.0.0.1:0").await.expect("a port").local_addr().expect("an address");
    let url = format!("http://{closed}");
    let (report, _) = run_at(Some(&url), Faults::default(), "--rate 10 --connections 2 --retry-for 1").await;
    let report = report.expect("a report");
    assert!(report.lost > 0 && report.accepted == 0);
    assert!(report.failures[0].contains("cannot connect"), "{:?}", report.failures);
}

#[tokio::test]
async fn permanent_lag_is_an_error() {
    let (report, _) = run(Faults { lag: 3, ..Faults::default() }, "--rate 10 --drain 1").await;
    let error = report.expect_err("an error").to_string();
    assert!(error.contains("after 1 s") && error.contains("partition=\"0\"} 3"), "{error}");
}

#[tokio::test]
async fn pipelined_arrays_are_accepted_once_despite_faults() {
    let faults = Faults { shed_every: 40, break_every: 30, ..Faults::default() };
    let (report, stub) = run(faults, "--rate 3000 --batch 3 --format array --connections 2 --pipeline 8").await;
    let report = report.expect("a report");
    assert_eq!(report.failures, [""; 0]);
    assert_eq!(report.ledger, Ledger::Right);
    assert_eq!((report.accepted, report.setting.depth), (3_000, 8));
    assert!(report.broken_requests > 0 && report.shed_requests > 0);
    assert_eq!(stub.taken.lock().ids.len(), 3_000);
    let answers = |status: &str| report.answers.iter().find(|(name, _)| name == status).map(|(_, count)| *count);
    assert_eq!(answers("202"), Some(1_000));
    assert_eq!(answers("503"), Some(report.shed_requests));
    assert_eq!(answers("none"), Some(report.broken_requests));
}

#[tokio::test]
async fn warm_up_is_checked_and_not_measured() {
    let (report, stub) = run(Faults::default(), "--rate 500 --connections 4 --warmup 1 --burst 4x@0s+1s").await;
    let report = report.expect("a report");
    assert_eq!(report.failures, [""; 0]);
    assert_eq!((report.ledger, counted(&stub)), (Ledger::Right, 2_500));
    assert_eq!((report.accepted, report.measured, report.ack.count), (2_500, 2_000, 2_000));
}

#[tokio::test]
async fn counts_that_do_not_add_up_fail_the_run() {
    let (report, _) = run(Faults { uncounted: 1, ..Faults::default() }, "--rate 10 --drain 1").await;
    let report = report.expect("a report");
    assert_eq!(report.ledger, Ledger::Right);
    assert!(report.failures[0].contains("received = accepted + rejected + shed"), "{:?}", report.failures);
}
