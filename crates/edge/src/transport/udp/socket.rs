//! Several sockets at one address, of which the kernel gives each sender one; many datagrams per system call.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrStorage, bind, recvmmsg,
    recvmsg, sendto, setsockopt, socket, sockopt,
};

/// Maximum number of bytes of a datagram, by the protocol.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;
/// Maximum number of datagrams of one receive; the next receive takes further ones.
pub const BATCH: usize = 64;
/// Size of each socket's receive buffer that the kernel is asked for, in bytes; it gives less where its own limit is lower.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// Maximum time of a receive that waits; then it reports that nothing came.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(200);

/// One of several sockets at an address.
#[derive(Debug)]
pub struct Socket(UdpSocket);

/// Binds this number of sockets to one address.
///
/// # Errors
/// Another process has the address, or this machine does not.
pub fn bind_all(address: SocketAddr, sockets: usize) -> io::Result<Vec<Socket>> {
    // No other process may have the address when the first socket takes it; from then on only our own sockets may join it.
    let first = Socket::bind(address, false)?;
    let address = first.address()?;
    if sockets > 1 {
        setsockopt(&first.0, sockopt::ReusePort, &true)?;
    }
    let others = (1..sockets).map(|_| Socket::bind(address, true));
    std::iter::once(Ok(first)).chain(others).collect()
}

impl Socket {
    fn bind(address: SocketAddr, joins: bool) -> io::Result<Self> {
        let family = if address.is_ipv4() { AddressFamily::Inet } else { AddressFamily::Inet6 };
        let fd = socket(family, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
        if joins {
            setsockopt(&fd, sockopt::ReusePort, &true)?;
        }
        // Beyond the system's limit only with the privilege for it.
        if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        }
        setsockopt(&fd, sockopt::RxqOvfl, &1)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        let socket = UdpSocket::from(fd);
        socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
        Ok(Self(socket))
    }

    /// The address that it is bound to.
    ///
    /// # Errors
    /// The system does not report it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Sends without waiting; a datagram that does not fit the send buffer is lost, as others are on their way.
    pub(super) fn send(&self, bytes: &[u8], to: SocketAddr) {
        let _ = sendto(self.0.as_raw_fd(), bytes, &SockaddrStorage::from(to), MsgFlags::MSG_DONTWAIT);
    }
}

/// Buffers for a batch of datagrams, used again and again.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    headers: MultiHeaders<SockaddrStorage>,
    control: Vec<u8>,
    received: Vec<(usize, SocketAddr)>,
    /// The number of datagrams that the kernel has dropped at this socket since it was opened, modulo 2³².
    drops: u32,
}

impl Inbox {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; BATCH * DATAGRAM_BYTES_MAX],
            headers: MultiHeaders::preallocate(BATCH - 1, None),
            control: cmsg_space!(u32),
            received: Vec::with_capacity(BATCH),
            drops: 0,
        }
    }

    /// Receives the datagrams that are there; if there are none, waits a moment for some, or does not wait.
    ///
    /// # Errors
    /// `WouldBlock` if nothing came.
    pub(super) fn receive(&mut self, socket: &Socket, waits: bool) -> io::Result<()> {
        self.received.clear();
        let fd = socket.0.as_raw_fd();
        let (first, rest) = self.bytes.split_at_mut(DATAGRAM_BYTES_MAX);
        // The headers of a batch are not reset between calls, and a header without a control message has no space for one the
        // next time: so only the first datagram reports the drops.
        let flags = if waits { MsgFlags::empty() } else { MsgFlags::MSG_DONTWAIT };
        let mut slice = [IoSliceMut::new(first)];
        let message = recvmsg::<SockaddrStorage>(fd, &mut slice, Some(&mut self.control), flags)?;
        if let Some(ControlMessageOwned::RxqOvfl(drops)) = message.cmsgs().ok().and_then(|mut all| all.next()) {
            self.drops = drops;
        }
        self.received.push((message.bytes, address(message.address)));
        let mut chunks = rest.chunks_exact_mut(DATAGRAM_BYTES_MAX);
        let mut slices: [[IoSliceMut<'_>; 1]; BATCH - 1] =
            std::array::from_fn(|_| [IoSliceMut::new(chunks.next().expect("a place for each"))]);
        // Whatever fails here, the first datagram is received; an error that lasts is reported by the next call.
        if let Ok(more) = recvmmsg(fd, &mut self.headers, slices.iter_mut(), MsgFlags::MSG_DONTWAIT, None) {
            self.received.extend(more.map(|message| (message.bytes, address(message.address))));
        }
        Ok(())
    }

    pub(super) fn len(&self) -> usize {
        self.received.len()
    }

    /// The datagrams that were received, and where from.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = (&[u8], SocketAddr)> {
        let places = self.bytes.chunks_exact(DATAGRAM_BYTES_MAX);
        places.zip(&self.received).map(|(place, (bytes, from))| (&place[..*bytes], *from))
    }

    pub(super) fn drops(&self) -> u32 {
        self.drops
    }
}

fn address(storage: Option<SockaddrStorage>) -> SocketAddr {
    let storage = storage.expect("the kernel names the sender of a datagram");
    let v4 = storage.as_sockaddr_in().map(|v4| SocketAddrV4::from(*v4).into());
    let any = v4.or_else(|| storage.as_sockaddr_in6().map(|v6| SocketAddrV6::from(*v6).into()));
    any.expect("a socket of IP has senders with IP addresses")
}

/// Whether an error only says that nothing came.
pub(super) fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted)
}
