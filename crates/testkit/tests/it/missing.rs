//! Without Kafka, tests print that they are skipped, or fail if none may be skipped.

use std::process::{Command, Output};

/// Runs another test of this binary without jars.
fn without_jars(must: bool) -> Output {
    let empty = tempfile::tempdir().expect("a directory");
    let mut test = Command::new(std::env::current_exe().expect("this binary"));
    test.args(["--exact", "clusters::broker_stores_records_in_the_given_directory", "--nocapture"]);
    test.env("MASHANG_KAFKA_JARS", empty.path()).env_remove("MASHANG_NO_SKIP");
    if must {
        test.env("MASHANG_NO_SKIP", "1");
    }
    test.output().expect("this binary runs")
}

#[test]
fn missing_kafka_skips_or_fails_a_test() {
    let skipped = without_jars(false);
    let told = String::from_utf8_lossy(&skipped.stderr);
    assert!(skipped.status.success() && told.contains("skipped: kafka: "), "{told}");
    assert!(!without_jars(true).status.success());
}
