//! Ports that stay reserved while a neighbour is down: a free port that the system gives out and gets back could be taken.

use std::fs::{File, create_dir_all};
use std::net::TcpListener;
use std::sync::atomic::{AtomicU16, Ordering};

/// First port: above those of usual services, below those of outgoing connections (from 32768 on Linux).
const FIRST: u16 = 20_000;
/// Number of ports; when all are taken, [`Port::take`] panics.
const COUNT: u16 = 12_000;

/// A loopback port that no other [`Port`] of any process has, until it is dropped.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// The lock of the port, which ends with the process in any case.
    _lock: File,
}

impl Port {
    /// Takes a port on which no process listens.
    ///
    /// # Panics
    /// If no port is free, or no file can be created in the directory for temporary files.
    #[must_use]
    pub fn take() -> Self {
        static NEXT: AtomicU16 = AtomicU16::new(0);
        let dir = std::env::temp_dir().join("mashang-testkit-ports");
        create_dir_all(&dir).expect("a directory for temporary files");
        // Binaries that run at the same time begin at different ports.
        let start = (std::process::id() % u32::from(COUNT)) as u16;
        for _ in 0..COUNT {
            let step = NEXT.fetch_add(1, Ordering::Relaxed) % COUNT;
            let number = FIRST + (start.wrapping_mul(37) % COUNT + step) % COUNT;
            let Ok(lock) = File::create(dir.join(number.to_string())) else { continue };
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Self { number, _lock: lock };
            }
        }
        panic!("no port from {FIRST} to {} is free", FIRST + COUNT - 1);
    }

    /// The number of the port.
    #[must_use]
    pub fn number(&self) -> u16 {
        self.number
    }

    /// `127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.number)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::Port;

    #[test]
    fn no_port_is_given_twice() {
        let ports: Vec<Port> = (0..50).map(|_| Port::take()).collect();
        let numbers: BTreeSet<u16> = ports.iter().map(Port::number).collect();
        assert_eq!(numbers.len(), ports.len());
    }
}
