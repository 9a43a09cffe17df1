//! Sends datagrams without answers when they are due, from one thread. The server's counts show what became of them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::Run;
use crate::load::schedule::{Slot, nap_until};

/// Maximum number of due datagrams from one socket in a row; the next socket then has its turn.
const TURN: usize = 16;
/// A ping: an empty confirmable message of CoAP. It holds no event, but with it the server's socket reports the datagrams that
/// it dropped before.
const PING: [u8; 4] = [0x40, 0, 0, 0];

/// Several sockets, so that several of the server's sockets receive datagrams.
pub(in crate::load) struct Senders {
    sockets: Vec<UdpSocket>,
    to: SocketAddr,
}

impl Senders {
    /// # Errors
    /// A socket cannot be opened, or the address cannot be reached.
    pub(in crate::load) fn open(to: SocketAddr, count: u64) -> io::Result<Self> {
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let open = |_| {
            let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
            socket.connect(to)?;
            Ok(socket)
        };
        Ok(Self { sockets: (0..count).map(open).collect::<io::Result<_>>()?, to })
    }

    /// Sends due datagrams on the caller's thread. An error ends the run.
    pub(in crate::load) fn send(&self, run: &Run, slots: impl Iterator<Item = Slot>) {
        let mut slots = slots.peekable();
        let is_due = |slot: &Slot| slot.due_ns <= run.watch.ns();
        for socket in self.sockets.iter().cycle() {
            let Some(next) = slots.peek() else { return };
            if !nap_until(next.due_ns, &run.watch, &|| run.board.stopped()) {
                return;
            }
            for _ in 0..TURN {
                let Some(slot) = slots.next_if(is_due) else { break };
                let load = run.traffic.request(slot.index);
                if let Err(error) = socket.send(&load.body) {
                    let to = self.to;
                    return run.board.fail(format!(
                        "a datagram to {to} was not sent: {error}. Check --udp and that the server runs, or --batch if it is too large"
                    ));
                }
                run.board.launched(load.made, slot.due_ns, run.watch.ns());
            }
        }
    }

    /// Sends a ping from each socket. Returns their number.
    ///
    /// # Errors
    /// A ping could not be sent.
    pub(in crate::load) fn ping(&self) -> io::Result<u64> {
        self.sockets.iter().try_for_each(|socket| socket.send(&PING).map(drop))?;
        Ok(self.sockets.len() as u64)
    }
}
