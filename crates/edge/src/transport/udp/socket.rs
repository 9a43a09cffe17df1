//! Several sockets at one address, of which the kernel gives each sender one; many datagrams a system call.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, SocketAddrV6, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use nix::cmsg_space;
use nix::sys::socket::{
    AddressFamily, ControlMessageOwned, MsgFlags, MultiHeaders, SockFlag, SockType, SockaddrStorage, bind, recvmmsg,
    recvmsg, sendto, setsockopt, socket, sockopt,
};

/// No datagram is larger.
pub const DATAGRAM_BYTES_MAX: usize = 65_535;
/// So many datagrams are received at once.
pub const BATCH: usize = 64;
/// What the kernel is asked to hold for each socket; it gives less where its own limit is lower.
const RECEIVE_BUFFER_BYTES: usize = 16 * 1024 * 1024;
/// How long a call that receives nothing lasts.
const RECEIVE_TIMEOUT: Duration = Duration::from_millis(200);

/// One of several sockets at an address.
#[derive(Debug)]
pub struct Socket(UdpSocket);

/// Binds so many sockets to one address.
///
/// # Errors
/// Another process has the address, or it is none of this machine.
pub fn bind_all(address: SocketAddr, sockets: usize) -> io::Result<Vec<Socket>> {
    // Nobody else may have the address when the first one takes it; from then on only our own may join it.
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
        // Past the system's limit only with the right to it.
        if setsockopt(&fd, sockopt::RcvBufForce, &RECEIVE_BUFFER_BYTES).is_err() {
            setsockopt(&fd, sockopt::RcvBuf, &RECEIVE_BUFFER_BYTES)?;
        }
        setsockopt(&fd, sockopt::RxqOvfl, &1)?;
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
        let socket = UdpSocket::from(fd);
        socket.set_read_timeout(Some(RECEIVE_TIMEOUT))?;
        Ok(Self(socket))
    }

    /// Where it is bound.
    ///
    /// # Errors
    /// The system does not tell.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Sends without waiting; a datagram for which there is no room is gone, as others are on their way.
    pub(super) fn send(&self, bytes: &[u8], to: SocketAddr) {
        let _ = sendto(self.0.as_raw_fd(), bytes, &SockaddrStorage::from(to), MsgFlags::MSG_DONTWAIT);
    }
}

/// Room for a batch of datagrams, used again and again.
#[derive(Debug)]
pub(super) struct Inbox {
    bytes: Vec<u8>,
    headers: MultiHeaders<SockaddrStorage>,
    control: Vec<u8>,
    received: Vec<(usize, SocketAddr)>,
    /// What the kernel has dropped of the socket's since it was opened, modulo 2³².
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

    /// Receives what is there; if nothing is, waits a moment for it, or does not.
    ///
    /// # Errors
    /// `WouldBlock` if nothing came.
    pub(super) fn receive(&mut self, socket: &Socket, waits: bool) -> io::Result<()> {
        self.received.clear();
        let fd = socket.0.as_raw_fd();
        let (first, rest) = self.bytes.split_at_mut(DATAGRAM_BYTES_MAX);
        // The headers of a batch are not set anew between calls, and a header without a control message has no room for
        // one the next time: so the drops are asked of the first datagram only.
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
        // Whatever goes wrong here, what was received is there; an error that lasts comes again.
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
