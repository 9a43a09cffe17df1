//! Several listeners at one address, of which the kernel gives each connection one; and how many files a process may open.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, setsockopt, socket, sockopt,
};

/// Maximum number of connections per listener that wait to be accepted; the kernel's own limit may be lower.
const BACKLOG: i32 = 4_096;

/// Binds this number of listeners to one address.
///
/// # Errors
/// Another process has the address, or this machine does not.
pub fn bind_all(address: SocketAddr, listeners: usize) -> io::Result<Vec<TcpListener>> {
    // No other process may have the address when the first listener takes it; from then on only our own may join it.
    let first = listener(address, false)?;
    let address = first.local_addr()?;
    let others = (1..listeners).map(|_| listener(address, true));
    std::iter::once(Ok(first)).chain(others).collect()
}

fn listener(address: SocketAddr, joins: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK, None)?;
    // Remaining connections of a process that has just ended do not keep the address taken.
    setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    if joins {
        setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    listen(&fd, Backlog::new(BACKLOG)?)?;
    Ok(TcpListener::from(fd))
}

/// Raises the process's limit of open files, connections among them, to the system's maximum, and returns it.
///
/// # Errors
/// The system reports no limit.
pub fn raise_files() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    let raised = soft < hard && setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    Ok(if raised { hard } else { soft })
}

#[cfg(test)]
mod tests {
    use std::io::ErrorKind;
    use std::net::TcpStream;

    use super::{bind_all, raise_files};

    #[test]
    fn listeners_share_an_address_that_others_cannot_get() {
        let own = bind_all(([127, 0, 0, 1], 0).into(), 3).expect("a port");
        let address = own[0].local_addr().expect("an address");
        assert!(own.iter().all(|listener| listener.local_addr().ok() == Some(address)));
        let other = bind_all(address, 3).expect_err("it is taken");
        assert_eq!(other.kind(), ErrorKind::AddrInUse);
        // Every listener gets some of these connections.
        let clients: Vec<_> = (0..200).map(|_| TcpStream::connect(address).expect("it listens")).collect();
        assert!(own.iter().all(|listener| listener.accept().is_ok()));
        drop((own, clients));
        bind_all(address, 1).expect("it is free again at once");
    }

    #[test]
    fn open_files_are_raised_to_the_limit() {
        let files = raise_files().expect("a limit");
        assert!(files >= 256 && raise_files().ok() == Some(files));
    }
}
