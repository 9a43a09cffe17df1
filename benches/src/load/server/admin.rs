//! Reads from `/metrics` whether the ledger holds all accepted events.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::http::Connection;

const LAG: &str = "mashang_lag_frames";
/// Pause between two requests.
const PAUSE: Duration = Duration::from_millis(200);

/// Waits until the lag is 0.
///
/// # Errors
/// The metrics cannot be read, have no lag, or still show one after the timeout.
pub(crate) async fn wait_for_no_lag(admin: &Connection, bound: Duration) -> Result<()> {
    let until = Instant::now() + bound;
    loop {
        let answer = admin.get("/metrics").await.context("the lag is read from /metrics; see --admin")?;
        ensure!(answer.is_success(), "GET /metrics was answered {}; see --admin", answer.status);
        let behind: Vec<String> = lags(&String::from_utf8_lossy(&answer.body))?;
        if behind.is_empty() {
            return Ok(());
        }
        if Instant::now() >= until {
            let (seconds, behind) = (bound.as_secs(), behind.join(", "));
            bail!("after {seconds} s the ledger still lags behind: {behind}. Raise --drain, or find the cause");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// The series of the lag that are not zero.
fn lags(metrics: &str) -> Result<Vec<String>> {
    let series: Vec<&str> = metrics
        .lines()
        .filter(|line| line.strip_prefix(LAG).is_some_and(|rest| rest.starts_with(['{', ' '])))
        .collect();
    ensure!(!series.is_empty(), "/metrics has no {LAG}: is --admin the admin port of this server?");
    let value = |line: &str| line.rsplit(' ').next().and_then(|value| value.parse::<f64>().ok());
    Ok(series.into_iter().filter(|line| value(line) != Some(0.0)).map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_found_and_missing_series_is_an_error() {
        let zero = "# TYPE mashang_lag_frames gauge\nmashang_lag_frames{stage=\"code\",partition=\"0\"} 0\n";
        assert!(lags(zero).expect("series").is_empty());
        let behind = format!("{zero}mashang_lag_frames{{stage=\"ledger\",partition=\"1\"}} 12\n");
        assert_eq!(lags(&behind).expect("series"), ["mashang_lag_frames{stage=\"ledger\",partition=\"1\"} 12"]);
        assert!(lags("mashang_lag_frames_other 0\nup 1\n").is_err());
    }
}
