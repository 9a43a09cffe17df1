//! Datagrams without answers: sent when they are due, from one thread; the server's own counts say what became of them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use super::Run;
use crate::load::schedule::{Slot, nap_until};

/// Maximum number of due datagrams that leave one socket before the next has its turn.
const TURN: usize = 16;
/// An empty confirmable message of CoAP, a ping: no event, but a datagram, with which the server's socket reports what it
/// had to drop before.
const PING: [u8; 4] = [0x40, 0, 0, 0];

/// Sockets, so that several of the server's have something to do.
pub(in crate::load) struct Senders {
    sockets: Vec<UdpSocket>,
    to: SocketAddr,
}

impl Senders {
    /// # Errors
    /// There is no socket to be had, or no way to the address.
    pub(in crate::load) fn open(to: SocketAddr, count: u64) -> io::Result<Self> {
        let any = if to.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let open = |_| {
            let socket = UdpSocket::bind(SocketAddr::new(any, 0))?;
            socket.connect(to)?;
            Ok(socket)
        };
        Ok(Self { sockets: (0..count).map(open).collect::<io::Result<_>>()?, to })
    }

    /// Sends what becomes due, on the caller's thread. What could not be sent ends the run.
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
                        "a datagram to {to} was not sent: {error}. See --udp and whether the server is there, or --batch if it is too large"
                    ));
                }
                run.board.launched(load.made, slot.due_ns, run.watch.ns());
            }
        }
    }

    /// A ping from each socket. Returns how many.
    ///
    /// # Errors
    /// One could not be sent.
    pub(in crate::load) fn ping(&self) -> io::Result<u64> {
        self.sockets.iter().try_for_each(|socket| socket.send(&PING).map(drop))?;
        Ok(self.sockets.len() as u64)
    }
}
