//! Makes a certificate authority, a broker's certificate and users for one cluster.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The addresses and credentials of the listeners with TLS.
#[derive(Debug, Clone)]
pub struct Secure {
    /// `bootstrap.servers` of the listener with TLS and SASL: `SASL_SSL`, with `PLAIN` or `SCRAM-SHA-512`.
    pub sasl: String,
    /// `bootstrap.servers` of the listener with TLS alone: `SSL`.
    pub tls: String,
    /// The authority's certificate, PEM: `ssl.ca.location`.
    pub ca: PathBuf,
    /// The name of the user.
    pub user: String,
    /// The password.
    pub password: String,
}

const USER: &str = "mashang";
const PASSWORD: &str = "stands-in-tests";

/// The name and password of the user, in the form of `StorageTool format --add-scram`.
pub(super) fn scram() -> String {
    format!("SCRAM-SHA-512=[name={USER},password={PASSWORD}]")
}

impl Secure {
    /// Makes the certificates in a directory.
    ///
    /// # Panics
    /// If `openssl` is not installed.
    pub(super) fn make(dir: &Path, sasl: String, tls: String) -> Self {
        let at = |name: &str| dir.join(name).to_str().expect("UTF-8").to_owned();
        let key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"];
        let (ca, ca_key) = (at("ca.pem"), at("ca-key.pem"));
        let subject = ["-days", "30", "-subj", "/CN=testkit authority"];
        openssl(&[&["req", "-x509"], &key[..], &subject, &["-keyout", &ca_key, "-out", &ca]].concat());
        let (broker, broker_key) = (at("broker-certificate.pem"), at("broker-key.pem"));
        let subject = ["-days", "30", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"];
        // This certificate is a broker's, not an authority's.
        let signed = ["-CA", &ca, "-CAkey", &ca_key, "-addext", "basicConstraints=critical,CA:FALSE"];
        let files = ["-keyout", &broker_key, "-out", &broker];
        openssl(&[&["req", "-x509"], &key[..], &subject, &signed, &files].concat());
        let read = |path: &str| fs::read_to_string(path).expect("openssl has written it");
        fs::write(dir.join("broker.pem"), read(&broker_key) + &read(&broker) + &read(&ca))
            .expect("a writable directory");
        Self { sasl, tls, ca: ca.into(), user: USER.to_owned(), password: PASSWORD.to_owned() }
    }

    /// The settings of a broker with the listeners `SASL` and `TLS`.
    pub(super) fn properties(dir: &Path) -> Vec<(String, String)> {
        let modules = "org.apache.kafka.common.security";
        let plain = format!(r#"{modules}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";"#);
        let scram = format!("{modules}.scram.ScramLoginModule required;");
        let pem = dir.join("broker.pem").display().to_string();
        let pairs = [
            ("ssl.keystore.type", "PEM"),
            ("ssl.keystore.location", &pem),
            ("listener.name.sasl.sasl.enabled.mechanisms", "PLAIN,SCRAM-SHA-512"),
            ("listener.name.sasl.plain.sasl.jaas.config", &plain),
            ("listener.name.sasl.scram-sha-512.sasl.jaas.config", &scram),
        ];
        pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec()
    }
}

fn openssl(args: &[&str]) {
    let output = Command::new("openssl").args(args).output().expect("openssl is installed: apt-get install openssl");
    assert!(output.status.success(), "openssl {}: {}", args.join(" "), String::from_utf8_lossy(&output.stderr));
}
