//! Stores in buckets: what is said of one that cannot be used.

use std::path::Path;
use std::process::{Command, Output};

use testkit::bucket::{Bucket, Mode};

/// `mashang snapshots list` of a store; the environment has nothing else of S3.
fn list(store: &str, environment: &[(&str, &str)]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mashang"));
    command.args(["snapshots", "list", "--store", store]);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    let Output { status, stderr, .. } = command.envs(environment.iter().copied()).output().expect("the binary runs");
    (status.code(), String::from_utf8_lossy(&stderr).into_owned())
}

#[test]
fn environment_that_leads_to_no_bucket_is_refused() {
    let key = [("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s")];
    for (more, expected) in [
        (("AWS_ENDPOINT_URL", "http://store.example.com"), "give an https URL, or set AWS_ALLOW_HTTP=true"),
        (("AWS_ENDPOINT_URL", "store.example.com"), "is no URL"),
        (("AWS_SECRET_ACCESS_KEY", ""), "\"The store\" in docs/operating.md"),
    ] {
        let environment: Vec<_> = key.into_iter().filter(|(name, _)| *name != more.0).chain([more]).collect();
        let environment: Vec<_> = environment.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let (status, told) = list("s3://mashang/a", &environment);
        assert!(status == Some(2) && told.contains(expected) && told.contains("s3://mashang/a"), "{status:?}: {told}");
    }
    let (status, told) = list("gs://mashang", &[]);
    assert!(status == Some(2) && told.contains("give file:DIR or s3://BUCKET/PREFIX"), "{told}");
}

#[test]
fn bucket_that_is_not_there_refuses_or_is_away_is_named() {
    let Some(bucket) = Bucket::start() else { return };
    let environment = bucket.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let (status, told) = list("s3://mashang/fleets/one", &environment);
    assert!(status == Some(1) && told.contains("s3://mashang/fleets/one has no snapshots"), "{told}");
    let (status, told) = list("s3://elsewhere", &environment);
    assert!(status == Some(1) && told.contains("s3://elsewhere/snapshots: cannot be listed"), "{told}");
    let wrong: Vec<_> = environment
        .iter()
        .map(|&(name, value)| (name, if name.contains("SECRET") { "wrong" } else { value }))
        .collect();
    let (status, told) = list("s3://mashang", &wrong);
    assert!(status == Some(1) && told.contains("s3://mashang/snapshots: cannot be listed"), "{told}");
    bucket.set(Mode::Refuse);
    let (status, told) = list("s3://mashang", &environment);
    assert!(status == Some(1) && told.contains("503"), "{told}");
}

/// Objects of a bucket are as files here, so that copies of a store are as `cp` makes them.
#[test]
fn copied_store_is_the_same_in_a_bucket() {
    let Some(bucket) = Bucket::start() else { return };
    let dir = Path::new("snapshots/scans-0");
    let to = bucket.files().join("moved").join(dir);
    std::fs::create_dir_all(&to).expect("a folder");
    std::fs::write(to.join("00000000000000000007.manifest.json"), b"{}").expect("a file");
    let environment = bucket.environment();
    let environment: Vec<(&str, &str)> = environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let output = Command::new(env!("CARGO_BIN_EXE_mashang"))
        .args(["snapshots", "verify", "--store", "s3://mashang/moved"])
        .envs(environment.iter().copied())
        .output()
        .expect("the binary runs");
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    let named =
        "s3://mashang/moved/snapshots/scans-0/00000000000000000007.manifest.json: the snapshot of scans partition 0";
    assert!(output.status.code() == Some(1) && told.contains(named), "{told}");
}
