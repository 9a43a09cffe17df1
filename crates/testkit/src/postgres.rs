//! A real Postgres from the system's packages: a new server in a directory of its own, on loopback, with a password and a locale
//! whose order of texts is not bytewise.

use std::fs::Permissions;
use std::io::{ErrorKind, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;

use tempfile::TempDir;

/// Directory of Debian's servers, with one folder for each version.
const VERSIONS: &str = "/usr/lib/postgresql";
/// Name of the role that owns all databases.
const USER: &str = "mashang";
/// Password of the role, with characters that a URL must escape.
pub const PASSWORD: &str = "s3cr3t/p@ss";
/// The password, as a URL contains it.
pub const PASSWORD_IN_URL: &str = "s3cr3t%2Fp%40ss";
/// Account that runs the server if the test runs as root, which initdb refuses.
const ACCOUNT: &str = "postgres";
/// Maximum number of starts, because another process may take the free port first; after them, the start panics.
const PORTS_TRIED: u32 = 5;

/// Script that ends the server when its standard input closes. The kernel closes it at any end of the test process, while a
/// static is never dropped. The script uses the process id in `postmaster.pid`, continues paused processes, and ignores signals
/// that are meant for the test.
const KEEPER: &str = r#"trap '' INT TERM HUP
cat > /dev/null
own=$(head -n 1 "$HOME_OF_SERVER/data/postmaster.pid" 2> /dev/null)
[ -z "$own" ] || kill -CONT "$own" $(cat "/proc/$own/task/$own/children") 2> /dev/null
"$@" -m immediate stop > /dev/null 2>&1
rm -rf "$HOME_OF_SERVER""#;

/// The options of a server.
#[derive(Clone, Copy, Debug)]
pub struct Wanted {
    /// Whether a commit is durable before it returns.
    pub fsync: bool,
    /// Whether the server offers TLS, with a certificate for `localhost` that only [`Postgres::root`] has signed.
    pub tls: bool,
}

impl Default for Wanted {
    fn default() -> Self {
        Self { fsync: true, tls: false }
    }
}

/// A running server, which ends when the value is dropped, or with the process.
#[derive(Debug)]
pub struct Postgres {
    bin: PathBuf,
    /// Removed by the keeper.
    home: PathBuf,
    port: u16,
    keeper: Child,
}

impl Postgres {
    /// The server that all tests of a process share, each with a database of its own. If Postgres is not installed, it prints so
    /// and returns `None`.
    ///
    /// # Panics
    /// If the server does not start, or Postgres is not installed and `MASHANG_NO_SKIP` is set.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        let shared = SHARED.get_or_init(|| Self::start(Wanted::default()));
        if shared.is_none() {
            println!("skipped: Postgres is not installed");
        }
        shared.as_ref()
    }

    /// A server for one test, which may disturb it.
    ///
    /// # Panics
    /// As [`Postgres::shared`].
    #[must_use]
    pub fn start(wanted: Wanted) -> Option<Self> {
        let Some(bin) = installed() else {
            assert!(std::env::var_os("MASHANG_NO_SKIP").is_none(), "Postgres is not installed below {VERSIONS}");
            println!("skipped: Postgres is not installed");
            return None;
        };
        // Removed by the keeper, which outlives this process.
        let home = TempDir::with_prefix("mashang-postgres-").expect("a directory").keep();
        if is_root() {
            give(&home);
        }
        let server = Self { keeper: keep(&bin, &home), bin, home, port: 0 };
        server.make(wanted);
        let mut server = server;
        for _ in 0..PORTS_TRIED {
            server.port = free_port();
            if server.control(&["start"]).status.success() {
                return Some(server);
            }
        }
        panic!("Postgres does not start: {}", std::fs::read_to_string(server.log()).unwrap_or_default());
    }

    /// The URL of a database.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}:{PASSWORD_IN_URL}@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a database by the server's socket in the file system.
    #[must_use]
    pub fn socket_url(&self, database: &str) -> String {
        let folder = self.home.display().to_string().replace('/', "%2F");
        format!("postgres://{USER}:{PASSWORD_IN_URL}@{folder}:{}/{database}", self.port)
    }

    /// Creates a database and returns its URL.
    ///
    /// # Panics
    /// If there is a database of that name.
    #[must_use]
    pub fn create_database(&self, name: &str) -> String {
        self.sql("postgres", &format!("CREATE DATABASE \"{name}\""));
        self.url(name)
    }

    /// Runs statements as the owner, each in a transaction of its own; returns their rows, one a line, with columns separated by
    /// `|`.
    ///
    /// # Panics
    /// If the server refuses a statement.
    pub fn sql(&self, database: &str, statements: &str) -> String {
        let mut psql = Command::new(self.bin.join("psql"));
        psql.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-U", USER, "-d", database]);
        psql.env("PGPASSWORD", PASSWORD).args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        psql.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut psql = psql.spawn().expect("psql runs");
        // Closed after the last statement.
        let mut input = psql.stdin.take().expect("a pipe");
        input.write_all(statements.as_bytes()).expect("psql reads its input");
        drop(input);
        done("psql", psql.wait_with_output())
    }

    /// Stops the server in a mode of `pg_ctl` (`fast` ends sessions, `immediate` is a crash), and starts it again.
    ///
    /// # Panics
    /// If it does not start again.
    pub fn restart(&self, mode: &str) {
        assert!(self.control(&["restart", "-m", mode]).status.success(), "Postgres restarts");
    }

    /// Stops the server in a mode as in [`Postgres::restart`].
    ///
    /// # Panics
    /// If it does not stop.
    pub fn stop(&self, mode: &str) {
        assert!(self.control(&["stop", "-m", mode]).status.success(), "Postgres stops");
    }

    /// Starts the server again.
    ///
    /// # Panics
    /// If it does not start.
    pub fn go_on(&self) {
        assert!(self.control(&["start"]).status.success(), "Postgres starts");
    }

    /// Pauses all processes of the server: it accepts connections, but does not answer.
    ///
    /// # Panics
    /// If it does not run.
    pub fn pause(&self) {
        self.signal("-STOP");
    }

    /// Continues the paused processes.
    ///
    /// # Panics
    /// If it does not run.
    pub fn wake(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let file = std::fs::read_to_string(self.data().join("postmaster.pid")).expect("it runs");
        let own = file.lines().next().expect("a process id").trim().to_owned();
        let children = std::fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
        for pid in std::iter::once(own.as_str()).chain(children.split_whitespace()) {
            // A session may have ended meanwhile.
            let _ = Command::new("kill").args([name, pid]).stderr(Stdio::null()).status();
        }
    }

    /// The certificate of the authority that has signed the server's.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.data().join("server.crt")
    }

    fn data(&self) -> PathBuf {
        self.home.join("data")
    }

    fn log(&self) -> PathBuf {
        self.home.join("log")
    }

    /// Creates the cluster. Its order of texts ignores punctuation and compares digits as numbers, so a bytewise order is never an
    /// accident.
    fn make(&self, wanted: Wanted) {
        let password = self.home.join("password");
        std::fs::write(&password, PASSWORD).expect("a file");
        std::fs::set_permissions(&password, Permissions::from_mode(0o644)).expect("a file");
        let mut initdb = as_account(&self.bin.join("initdb"));
        initdb.arg("-D").arg(self.data()).arg("--pwfile").arg(&password).args(["-U", USER, "-A", "scram-sha-256"]);
        initdb.args([
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--locale-provider=icu",
            "--icu-locale=en-u-ka-shifted-kn",
        ]);
        done("initdb", initdb.output());
        let mut settings = format!(
            "listen_addresses = '127.0.0.1'\nunix_socket_directories = '{}'\nmax_connections = 200\nfsync = {}\n",
            self.home.display(),
            if wanted.fsync { "on" } else { "off" }
        );
        if wanted.tls {
            settings.push_str("ssl = on\n");
            self.make_certificate();
        }
        let file = self.data().join("postgresql.conf");
        let before = std::fs::read_to_string(&file).expect("initdb has written it");
        std::fs::write(&file, before + &settings).expect("written");
    }

    fn make_certificate(&self) {
        let mut openssl = as_account(Path::new("/usr/bin/openssl"));
        openssl.args(["req", "-new", "-x509", "-days", "2", "-nodes", "-subj", "/CN=localhost"]);
        openssl.args(["-addext", "subjectAltName = DNS:localhost"]);
        openssl.arg("-out").arg(self.root()).arg("-keyout").arg(self.data().join("server.key"));
        done("openssl", openssl.output());
    }

    fn control(&self, args: &[&str]) -> Output {
        let mut control = as_account(&self.bin.join("pg_ctl"));
        control.arg("-D").arg(self.data()).arg("-l").arg(self.log()).args(["-w", "-s", "-o"]);
        control.arg(format!("-p {}", self.port)).args(args);
        // The server would keep a pipe open while it runs.
        control.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let status = control.status().expect("pg_ctl runs");
        Output { status, stdout: Vec::new(), stderr: Vec::new() }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

/// The newest installed server.
fn installed() -> Option<PathBuf> {
    let versions = std::fs::read_dir(VERSIONS).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    versions
        .map(|path| path.join("bin"))
        .filter(|bin| bin.join("initdb").exists())
        .max_by_key(|bin| bin.parent().map(Path::to_owned).as_ref().and_then(version))
}

fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|meta| meta.uid() == 0)
}

/// A program that runs under the account that may run the server.
fn as_account(program: &Path) -> Command {
    let mut command = if is_root() {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", ACCOUNT, "--regid", ACCOUNT, "--clear-groups", "--"]).arg(program);
        command
    } else {
        Command::new(program)
    };
    // Without the caller's settings, and in a directory that every account may use.
    command.env_remove("PGDATA").env_remove("PGPORT").env_remove("PGHOST").current_dir("/");
    command
}

/// Gives a directory to the account that runs the server.
fn give(home: &Path) {
    done("chown", Command::new("chown").arg(format!("{ACCOUNT}:{ACCOUNT}")).arg(home).output());
}

fn keep(bin: &Path, home: &Path) -> Child {
    let mut control = as_account(&bin.join("pg_ctl"));
    control.arg("-D").arg(home.join("data"));
    let mut keeper = Command::new("sh");
    keeper.args(["-c", KEEPER, "keeper"]).arg(control.get_program()).args(control.get_args());
    keeper.env("HOME_OF_SERVER", home).current_dir("/").stdin(Stdio::piped()).stdout(Stdio::null());
    keeper.stderr(Stdio::null()).spawn().expect("sh runs")
}

fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("bound").port()
}

/// The output of a program, if it succeeded.
fn done(program: &str, output: std::io::Result<Output>) -> String {
    match output {
        Ok(output) if output.status.success() => String::from_utf8_lossy(&output.stdout).trim_end().to_owned(),
        Ok(output) => panic!("{program}: {}", String::from_utf8_lossy(&output.stderr)),
        Err(error) if error.kind() == ErrorKind::NotFound => panic!("{program} is not installed"),
        Err(error) => panic!("{program}: {error}"),
    }
}
