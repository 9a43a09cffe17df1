//! Clients of other projects, unchanged: the SDKs of CloudEvents, and a tester that goes by our own description.

use std::path::Path;
use std::process::Command;

use super::server::Server;
use super::setup::shop;

/// A client that is installed, as its probe shows; without it the test is skipped.
pub(super) fn has(what: &str, probe: &[&str]) -> bool {
    let probed = Command::new(probe[0]).args(&probe[1..]).output();
    let is_there = probed.is_ok_and(|output| output.status.success());
    if !is_there {
        assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "{what} is not installed");
        eprintln!("skipped: {what} is not installed");
    }
    is_there
}

/// Runs a client in a directory, where it may leave what it likes; what it printed.
fn run(dir: &Path, command: &[&str]) -> String {
    let output = Command::new(command[0]).args(&command[1..]).current_dir(dir).output().expect("it runs");
    let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {text}");
    text
}

fn script(name: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients").join(name).display().to_string()
}

/// All requests were accepted, each with its number of events.
fn all_taken(told: &str, accepted: &[u64]) {
    let wanted: Vec<String> =
        accepted.iter().map(|n| format!("202 {{\"accepted\":{n},\"durable\":\"log\",\"rejected\":[]}}")).collect();
    assert_eq!(told.lines().collect::<Vec<_>>(), wanted);
}

#[test]
fn the_cloudevents_sdk_of_python_is_understood() {
    if !has("cloudevents for Python, 2 or later", &["python3", "-c", "import cloudevents.core"]) {
        return;
    }
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    all_taken(&run(dir.path(), &["python3", &script("sdk.py"), &server.http]), &[1, 1, 1, 1]);
    server.settle();
    assert_eq!(server.sum("mashang_duplicates_total"), 0);
}

#[test]
fn the_cloudevents_sdk_of_javascript_is_understood() {
    if !has("cloudevents for Node (NODE_PATH)", &["node", "-e", "require('cloudevents')"]) {
        return;
    }
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    all_taken(&run(dir.path(), &["node", &script("sdk.js"), &server.http]), &[1, 1, 2]);
    server.settle();
    assert_eq!(server.sum("mashang_duplicates_total"), 0);
}

#[test]
fn requests_from_the_description_cause_no_server_error() {
    if !has("schemathesis", &["schemathesis", "--version"]) {
        return;
    }
    let dir = shop();
    let server = Server::start(dir.path(), &[]);
    let description = format!("{}/openapi.json", server.http);
    let told = run(
        dir.path(),
        &[
            "schemathesis",
            "run",
            &description,
            "--checks",
            "not_a_server_error",
            "--include-path-regex",
            "^/(v1/events$|c/|01/|414/|8017/)",
            "--max-examples",
            "50",
            "--seed",
            "1",
            "--no-color",
        ],
    );
    // A run without failures ends with this line; it may warn that paths of unknown codes are not found.
    let cases = told.lines().map(str::trim).find(|line| line.contains(" generated, ")).expect("a summary");
    assert!(cases.ends_with(" passed") && !cases.contains("failed"), "{told}");
    // Whatever it sent is accounted for.
    let sum = |name: &str| server.sum(&format!("mashang_events_{name}_total"));
    let received = sum("received");
    assert!(received > 100 && received == sum("accepted") + sum("rejected") + sum("shed"), "{received}");
}
