//! Finds Kafka's jars, and starts its programs.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Kafka's jars, and a Java that can run them.
#[derive(Debug, Clone)]
pub(super) struct Jars {
    dir: PathBuf,
}

impl Jars {
    /// Looks for Java and for the jars, in `MASHANG_KAFKA_JARS` or in the directory of `deploy/kafka/kafka fetch`; fetches missing
    /// jars.
    ///
    /// # Errors
    /// What is missing.
    pub(super) fn find() -> Result<Self, String> {
        let java = Command::new("java").arg("-version").output();
        if !java.is_ok_and(|output| output.status.success()) {
            return Err("java is not installed: apt-get install openjdk-17-jre-headless".to_owned());
        }
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("the workspace");
        let dir = std::env::var_os("MASHANG_KAFKA_JARS").map_or_else(|| root.join("target/kafka/jars"), PathBuf::from);
        let script = root.join("deploy/kafka/kafka");
        let fetched = Command::new(&script).arg("fetch").env("MASHANG_KAFKA_JARS", &dir).output();
        match fetched {
            Ok(output) if output.status.success() => Ok(Self { dir }),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(e) => Err(format!("{}: {e}", script.display())),
        }
    }

    /// A command that runs a class of Kafka with a heap of `heap_mb` MiB and starts quickly: with Java's first compiler only.
    pub(super) fn quick(&self, heap_mb: u32, class: &str) -> Command {
        self.java(heap_mb, &["-XX:TieredStopAtLevel=1"], class)
    }

    /// A command that runs a class of Kafka with a heap of `heap_mb` MiB and all of Java's compilers.
    pub(super) fn fast(&self, heap_mb: u32, class: &str) -> Command {
        self.java(heap_mb, &[], class)
    }

    fn java(&self, heap_mb: u32, flags: &[&str], class: &str) -> Command {
        let mut command = Command::new("java");
        command.args(flags).args([format!("-Xmx{heap_mb}m"), "-cp".to_owned(), format!("{}/*", self.dir.display())]);
        command.args(["defaultLogLevel=warn", "showDateTime=true", "dateTimeFormat=HH:mm:ss.SSS"].map(log));
        command.arg(class);
        command
    }
}

fn log(setting: &str) -> String {
    format!("-Dorg.slf4j.simpleLogger.{setting}")
}
