//! A bare receiver with recvmmsg.

use std::io::{ErrorKind, IoSliceMut, Read, Write};
use std::net::{SocketAddr, TcpListener, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrStorage, bind, recvmmsg, setsockopt, socket,
    sockopt,
};

/// Maximum size of a datagram, bytes, as in the edge; longer ones are truncated.
const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Maximum number of datagrams of one call, as in the edge; further ones wait for the next call.
const BATCH: usize = 64;
/// Size of the socket's buffer, bytes, as in the edge; when it is full, the kernel drops datagrams.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024 * 1024;

pub(super) fn serve(udp: SocketAddr, admin: SocketAddr, events: u64) -> Result<()> {
    let listener = TcpListener::bind(admin).with_context(|| format!("--admin {admin}: cannot be bound"))?;
    let named = || format!("--udp {udp}: cannot be bound");
    let first = open(udp).with_context(named)?;
    let udp = first.local_addr()?;
    let others = (1..super::processors()).map(|_| open(udp));
    let sockets = std::iter::once(Ok(first)).chain(others).collect::<nix::Result<Vec<_>>>().with_context(named)?;
    let count = Arc::new(AtomicU64::new(0));
    for socket in sockets {
        let count = Arc::clone(&count);
        thread::spawn(move || receive(&socket, &count));
    }
    super::print(&format!("udp {udp}\nadmin http://{}", listener.local_addr()?))?;
    loop {
        let (stream, _) = listener.accept()?;
        let count = Arc::clone(&count);
        // A client whose connection breaks connects again.
        thread::spawn(move || serve_metrics(&stream, udp, &count, events));
    }
}

fn open(address: SocketAddr) -> nix::Result<UdpSocket> {
    let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
    let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    setsockopt(&fd, sockopt::ReusePort, &true)?;
    if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
        setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
    }
    bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(UdpSocket::from(fd))
}

fn receive(socket: &UdpSocket, count: &AtomicU64) -> nix::Result<()> {
    let mut bytes = vec![0; BATCH * DATAGRAM_BYTES_MAX];
    let mut headers = MultiHeaders::<SockaddrStorage>::preallocate(BATCH, None);
    loop {
        let mut places = bytes.chunks_exact_mut(DATAGRAM_BYTES_MAX);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH] =
            std::array::from_fn(|_| [IoSliceMut::new(places.next().expect("a place for each"))]);
        match recvmmsg(socket.as_raw_fd(), &mut headers, slices.iter_mut(), MsgFlags::MSG_WAITFORONE, None) {
            Ok(received) => count.fetch_add(received.count() as u64, Ordering::Relaxed),
            Err(Errno::EINTR) => continue,
            Err(error) => return Err(error),
        };
    }
}

/// Answers every request on a connection with the counts, under the edge's names of metrics.
fn serve_metrics(
    mut stream: &std::net::TcpStream,
    udp: SocketAddr,
    count: &AtomicU64,
    events: u64,
) -> std::io::Result<()> {
    let (mut request, mut chunk) = (Vec::new(), [0; 4_096]);
    loop {
        match stream.read(&mut chunk)? {
            0 => return Ok(()),
            bytes => request.extend_from_slice(&chunk[..bytes]),
        }
        if request.len() > chunk.len() {
            return Err(ErrorKind::InvalidData.into());
        }
        if !request.ends_with(b"\r\n\r\n") {
            continue;
        }
        request.clear();
        let datagrams = count.load(Ordering::Relaxed);
        let received = datagrams * events;
        let drops = drops(udp.port())?;
        let body = format!(
            "mashang_udp_datagrams_total {datagrams}\nmashang_udp_kernel_drops_total {drops}\n\
             mashang_events_received_total {received}\nmashang_events_accepted_total{{transport=\"udp\"}} {received}\n"
        );
        stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len()).as_bytes())?;
    }
}

/// The number of datagrams that the kernel has dropped at a port (proc(5): the last column of `/proc/net/udp`).
fn drops(port: u16) -> std::io::Result<u64> {
    let text =
        std::fs::read_to_string("/proc/net/udp")? + &std::fs::read_to_string("/proc/net/udp6").unwrap_or_default();
    Ok(sum_drops(&text, port))
}

fn sum_drops(table: &str, port: u16) -> u64 {
    let local = format!(":{port:04X}");
    let rows = table.lines().filter(|row| row.split_ascii_whitespace().nth(1).is_some_and(|at| at.ends_with(&local)));
    rows.filter_map(|row| row.rsplit(' ').find(|column| !column.is_empty())?.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_summed_by_port() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
            1000: 0100007F:1633 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 6796 2 0000000000000000 12\n\
            1001: 0100007F:1633 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 6797 2 0000000000000000 30     \n\
            1002: 0100007F:1634 00000000:1633 07 00000000:00000000 00:00000000 00000000     0        0 6798 2 0000000000000000 7\n";
        assert_eq!((sum_drops(table, 0x1633), sum_drops(table, 0x1634), sum_drops(table, 1)), (42, 7, 0));
    }

    #[test]
    fn every_datagram_is_counted() {
        let socket = open(([127, 0, 0, 1], 0).into()).expect("a socket");
        let to = socket.local_addr().expect("an address");
        let count = Arc::new(AtomicU64::new(0));
        let counting = Arc::clone(&count);
        thread::spawn(move || receive(&socket, &counting));
        let sender = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        for _ in 0..100 {
            sender.send_to(b"{}", to).expect("sent");
        }
        // None is lost within one machine while the buffer has space.
        while count.load(Ordering::Relaxed) < 100 {
            thread::yield_now();
        }
    }
}
