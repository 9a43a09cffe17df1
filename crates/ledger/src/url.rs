//! The address of a ledger: `sqlite:FILE`, a bare path, or `postgres://…`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};

use crate::error::LedgerError;

const POSTGRES: [&str; 2] = ["postgres://", "postgresql://"];

/// The address of a ledger. Its text form contains no password.
#[derive(Clone, PartialEq, Eq)]
pub enum LedgerUrl {
    /// A file of SQLite.
    Sqlite(PathBuf),
    /// A database of Postgres.
    Postgres(Box<PostgresUrl>),
}

/// The address of a Postgres database.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    /// All settings but the TLS files; `check` holds what libpq calls `verify-ca` and `verify-full`.
    pub(crate) config: Config,
    pub(crate) check: Check,
    /// The root certificates to trust instead of the system's.
    pub(crate) root: Option<PathBuf>,
    /// Our own certificate and its key.
    pub(crate) own: Option<(PathBuf, PathBuf)>,
}

/// How far a server's certificate is checked, as in libpq.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// `sslmode` disable, prefer or require: no check.
    Nothing,
    /// `verify-ca`, and `require` with a root certificate: a trusted authority has signed it.
    Authority,
    /// `verify-full`: a trusted authority has signed it for this host.
    Host,
}

impl LedgerUrl {
    /// The ledger in a file.
    #[must_use]
    pub fn file(path: &Path) -> Self {
        Self::Sqlite(path.to_owned())
    }
}

impl FromStr for LedgerUrl {
    type Err = LedgerError;

    /// # Errors
    /// [`LedgerError::Url`]: no ledger can be in a database of this scheme, or the rest cannot be read.
    fn from_str(text: &str) -> Result<Self, LedgerError> {
        if let Some(file) = text.strip_prefix("sqlite:") {
            return Ok(Self::Sqlite(file.into()));
        }
        if ["postgres:", "postgresql:"].iter().any(|scheme| text.starts_with(scheme)) {
            return Ok(Self::Postgres(Box::new(text.parse()?)));
        }
        match text.split_once("://") {
            Some((scheme, _)) => Err(LedgerError::Url {
                at: format!("{scheme}://…"),
                what: "a ledger is in sqlite:FILE, in a file named by its path, or in postgres://USER:PASSWORD@HOST/DATABASE".to_owned(),
            }),
            None => Ok(Self::Sqlite(text.into())),
        }
    }
}

impl FromStr for PostgresUrl {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        // No message repeats the text: in a text that cannot be read, any part may be the password.
        let bad = |what: &str| LedgerError::Url { at: "postgres://…".to_owned(), what: what.to_owned() };
        let Some(rest) = POSTGRES.iter().find_map(|scheme| text.strip_prefix(scheme)) else {
            return Err(bad("write it postgres://USER:PASSWORD@HOST/DATABASE"));
        };
        let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
        if rest.matches('@').count() > 1 || rest.contains('@') != authority.contains('@') || rest.contains('#') {
            return Err(bad(
                "in a user, password or setting write @ as %40, / as %2F, ? as %3F, # as %23 and % as %25: otherwise the host cannot be found",
            ));
        }
        let (base, query) = rest.split_once('?').unwrap_or((rest, ""));
        let mut url = Self { config: Config::new(), check: Check::Nothing, root: None, own: None };
        let (mut mode, mut cert, mut key, mut others) = (None, None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            match pair.split_once('=') {
                Some(("sslmode", value)) => mode = Some(value),
                Some(("sslrootcert", value)) => url.root = Some(decoded(value)),
                Some(("sslcert", value)) => cert = Some(decoded(value)),
                Some(("sslkey", value)) => key = Some(decoded(value)),
                Some(_) => others.push(pair),
                None => return Err(bad("a setting after ? is not NAME=VALUE")),
            }
        }
        let plain = format!("postgres://{base}?{}", others.join("&"));
        url.config = plain.parse().map_err(|error: tokio_postgres::Error| bad(&reason(&error)))?;
        if url.config.get_hosts().is_empty() {
            return Err(bad("the host is missing: postgres://USER:PASSWORD@HOST/DATABASE"));
        }
        url.own = match (cert, key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            _ => return Err(bad("sslcert and sslkey belong together")),
        };
        url.set_mode(mode.unwrap_or("prefer"))
            .ok_or_else(|| bad("sslmode is one of disable, prefer, require, verify-ca and verify-full"))?;
        Ok(url)
    }
}

impl PostgresUrl {
    fn set_mode(&mut self, mode: &str) -> Option<()> {
        let (mode, check) = match mode {
            "disable" => (SslMode::Disable, Check::Nothing),
            "prefer" => (SslMode::Prefer, Check::Nothing),
            "require" if self.root.is_some() => (SslMode::Require, Check::Authority),
            "require" => (SslMode::Require, Check::Nothing),
            "verify-ca" => (SslMode::Require, Check::Authority),
            "verify-full" => (SslMode::Require, Check::Host),
            _ => return None,
        };
        self.config.ssl_mode(mode);
        self.check = check;
        Some(())
    }
}

/// The message of the driver's parser, which names settings but contains no value.
fn reason(error: &tokio_postgres::Error) -> String {
    let source = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
    format!("{error}{source}")
}

fn decoded(value: &str) -> PathBuf {
    percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned().into()
}

impl fmt::Display for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(file) => file.display().fmt(f),
            Self::Postgres(url) => url.fmt(f),
        }
    }
}

impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "postgres://")?;
        if let Some(user) = self.config.get_user() {
            write!(f, "{user}@")?;
        }
        let ports = self.config.get_ports();
        for (i, host) in self.config.get_hosts().iter().enumerate() {
            write!(f, "{}", if i == 0 { "" } else { "," })?;
            match host {
                Host::Tcp(name) => write!(f, "{name}")?,
                #[cfg(unix)]
                Host::Unix(folder) => write!(f, "{}", folder.display())?,
            }
            // A single port is for all hosts.
            if let Some(port) = ports.get(i).or(ports.first()) {
                write!(f, ":{port}")?;
            }
        }
        write!(f, "/{}", self.config.get_dbname().or(self.config.get_user()).unwrap_or_default())
    }
}

impl fmt::Debug for LedgerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match text.parse::<LedgerUrl>() {
            Ok(url) => url.to_string(),
            Err(error) => format!("! {error}"),
        }
    }

    #[test]
    fn every_form_is_read_and_shows_no_password() {
        assert_eq!(shown("sqlite:a/b.sqlite"), "a/b.sqlite");
        assert_eq!(shown("a/b.sqlite"), "a/b.sqlite");
        assert_eq!(shown("postgres://u:s3cr3t@h/d"), "postgres://u@h:5432/d");
        assert_eq!(shown("postgresql://u:s3cr3t@h:6432,i/d?sslmode=require"), "postgres://u@h:6432,i:5432/d");
        assert_eq!(shown("postgres://u@h/d?password=s3cr3t"), "postgres://u@h:5432/d");
        assert_eq!(shown("postgres://u:s3cr3t@%2Ftmp%2Fsocket/d"), "postgres://u@/tmp/socket:5432/d");
        let debug = format!("{:?}", "postgres://u:s3cr3t@h/d".parse::<LedgerUrl>().expect("a URL"));
        assert_eq!(debug, "postgres://u@h:5432/d");
        for wrong in [
            "postgres://u:s3cr3t@x@h/d",
            "postgres://u:s3cr3t/x@h/d",
            "postgres://u:s3cr3t?x@h/d",
            "postgres://u:s3cr3t#x@h/d",
            "postgres://u:s3cr3t@/d",
            "postgres:u:s3cr3t@h/d",
            "postgres://u:s3cr3t@h:port/d",
            "postgres://u:s3cr3t@h/d?sslmode=s3cr3t",
            "postgres://u:s3cr3t@h/d?s3cr3t",
            "postgres://u:s3cr3t@h/d?sslcert=a",
            "mysql://u:s3cr3t@h/d",
        ] {
            let said = shown(wrong);
            assert!(said.starts_with("! ") && !said.contains("s3cr3t"), "{wrong}: {said}");
        }
        assert_eq!(
            shown("mysql://u:pw@h/d"),
            "! mysql://…: a ledger is in sqlite:FILE, in a file named by its path, or in postgres://USER:PASSWORD@HOST/DATABASE"
        );
    }

    #[test]
    fn sslmode_has_the_meaning_of_libpq() {
        let check = |query: &str| {
            let url: PostgresUrl = format!("postgres://h/d?{query}").parse().expect("a URL");
            (url.config.get_ssl_mode(), url.check)
        };
        assert_eq!(check(""), (SslMode::Prefer, Check::Nothing));
        assert_eq!(check("sslmode=disable"), (SslMode::Disable, Check::Nothing));
        assert_eq!(check("sslmode=require"), (SslMode::Require, Check::Nothing));
        assert_eq!(check("sslmode=require&sslrootcert=ca.pem"), (SslMode::Require, Check::Authority));
        assert_eq!(check("sslmode=verify-ca"), (SslMode::Require, Check::Authority));
        assert_eq!(check("connect_timeout=3&sslmode=verify-full"), (SslMode::Require, Check::Host));
    }
}
