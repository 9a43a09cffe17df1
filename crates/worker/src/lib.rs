//! The worker: desks and the ledger's writer on threads.
//!
//! - [`snapshot`]: states of stages in a directory, each with a manifest that is published last
//! - [`task`]: a stage with its place in the log, what it has sent, and when a snapshot of it may be published
//! - [`any_task`]: a task of any desk
//! - `running_task`: a task in a lane
//! - [`rules_cache`]: the rules that desks may be asked to work under
//! - [`context`]: what all lanes of a process share, and how far their tasks are
//! - [`lane`]: a thread that works for some tasks
//! - [`supervisor`]: lanes whose partitions come and go; it starts a lane again when it ends
//! - [`ledger_consumer`]: the thread that writes facts to the ledger

pub mod any_task;
pub mod context;
pub mod lane;
pub mod ledger_consumer;
pub mod rules_cache;
mod running_task;
pub mod snapshot;
pub mod supervisor;
pub mod task;
