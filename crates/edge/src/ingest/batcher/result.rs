//! How the tasks of a thread learn the result of their round.

use std::cell::RefCell;
use std::time::Duration;

use eventlog::api::AppendError;
use tokio::sync::watch;

use crate::spool::Durable;

/// Maximum time that a request waits for its round; then its sender is asked to send the events again.
const DURABLE_TIMEOUT: Duration = Duration::from_secs(30);

/// Why events are not durable, or not known to be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitError {
    /// The round was refused: none of them is accepted.
    Refused(AppendError),
    /// The log did not answer in time. Its events are counted when it does.
    Late,
}

/// The result of a round; `None` until it has ended.
pub(super) type RoundResult = Option<Result<Durable, AppendError>>;
/// What a task learns of it.
type TaskResult = Option<Result<Durable, SubmitError>>;

/// The round that a thread waited for last. One task wakes all tasks of the thread that wait for it: to wake a task of another
/// thread costs a system call.
struct ThreadRound {
    /// Identifies the round.
    round_rx: watch::Receiver<RoundResult>,
    result_rx: watch::Receiver<TaskResult>,
}

thread_local! {
    static LAST: RefCell<Option<ThreadRound>> = const { RefCell::new(None) };
}

/// The receiver through which tasks of this thread learn the result of a round.
pub(super) fn subscribe(round_tx: &watch::Sender<RoundResult>) -> watch::Receiver<TaskResult> {
    LAST.with_borrow_mut(|last| {
        let mut round_rx = round_tx.subscribe();
        if let Some(last) = last
            && last.round_rx.same_channel(&round_rx)
            && last.result_rx.has_changed().is_ok()
        {
            return last.result_rx.clone();
        }
        let (result_tx, result_rx) = watch::channel(None);
        *last = Some(ThreadRound { round_rx: round_rx.clone(), result_rx: result_rx.clone() });
        tokio::spawn(async move {
            let ended = tokio::time::timeout(DURABLE_TIMEOUT, round_rx.wait_for(Option::is_some)).await;
            let result = match ended {
                Ok(Ok(result)) => result.unwrap_or(Err(AppendError::Closed)).map_err(SubmitError::Refused),
                Ok(Err(_)) => Err(SubmitError::Refused(AppendError::Closed)),
                Err(_) => Err(SubmitError::Late),
            };
            result_tx.send_replace(Some(result));
        });
        result_rx
    })
}

/// Waits for the result.
pub(super) async fn wait(mut result_rx: watch::Receiver<TaskResult>) -> Result<Durable, SubmitError> {
    let result = result_rx.wait_for(Option::is_some).await;
    result.ok().and_then(|result| *result).unwrap_or(Err(SubmitError::Refused(AppendError::Closed)))
}
