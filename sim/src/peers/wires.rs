//! The sockets of a peer that is not one of ours: connections with bytes to write, and datagrams.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use folkmoot_core::engine::{ConnId, Gather, Output, Target};

/// One connection or datagram.
#[derive(Debug, Default)]
pub(crate) struct Wire {
    out: Vec<u8>,
    written: usize,
    /// Bytes that have come and are not worked off.
    pub(crate) buffer: Vec<u8>,
    /// Whether it stands.
    pub(crate) is_open: bool,
    /// To be closed when all is written.
    close_after: bool,
    is_datagram: bool,
    announced: bool,
}

impl Wire {
    /// Whether everything has been written.
    pub(crate) fn is_idle(&self) -> bool {
        self.written == self.out.len()
    }
}

/// All sockets of one process.
#[derive(Debug, Default)]
pub(crate) struct Wires {
    wires: BTreeMap<ConnId, Wire>,
    /// How often each place has been used.
    places: Vec<u32>,
    free: VecDeque<u32>,
    outputs: VecDeque<Output>,
}

impl Wires {
    fn insert(&mut self, wire: Wire) -> ConnId {
        let slot = self.free.pop_front().unwrap_or_else(|| {
            self.places.push(0);
            self.places.len() as u32 - 1
        });
        self.places[slot as usize] += 1;
        let conn = ConnId::new(slot, self.places[slot as usize]);
        self.wires.insert(conn, wire);
        conn
    }

    /// Forgets a connection that has ended; whether it was there.
    pub(crate) fn closed(&mut self, conn: ConnId) -> bool {
        let was = self.wires.remove(&conn).is_some();
        if was {
            self.free.push_back(conn.slot());
        }
        was
    }

    /// A peer has connected.
    pub(crate) fn accept(&mut self) -> ConnId {
        self.insert(Wire {
            is_open: true,
            ..Wire::default()
        })
    }

    /// Asks for a connection, and writes `bytes` on it when it stands.
    pub(crate) fn connect(&mut self, to: SocketAddr, bytes: Vec<u8>) -> ConnId {
        let conn = self.insert(Wire {
            out: bytes,
            ..Wire::default()
        });
        self.outputs.push_back(Output::Connect { conn, to });
        conn
    }

    /// A connection that was asked for stands.
    pub(crate) fn connected(&mut self, conn: ConnId) {
        if let Some(wire) = self.wires.get_mut(&conn) {
            wire.is_open = true;
            if !wire.is_idle() {
                wire.announced = true;
                self.outputs.push_back(Output::Transmit { conn });
            }
        }
    }

    /// From now on reads, or does not read, what comes on a connection that stands.
    pub(crate) fn set_reading(&mut self, conn: ConnId, reading: bool) {
        if self.wires.get(&conn).is_some_and(|wire| wire.is_open) {
            self.outputs.push_back(match reading {
                true => Output::ResumeRead { conn },
                false => Output::PauseRead { conn },
            });
        }
    }

    /// Adds bytes to a connection, if it is still there.
    pub(crate) fn write(&mut self, conn: ConnId, bytes: &[u8]) {
        if let Some(wire) = self.wires.get_mut(&conn) {
            wire.out.extend_from_slice(bytes);
            if wire.is_open && !wire.announced {
                wire.announced = true;
                self.outputs.push_back(Output::Transmit { conn });
            }
        }
    }

    /// Ends a connection at once.
    pub(crate) fn close(&mut self, conn: ConnId) {
        if self.closed(conn) {
            self.outputs.push_back(Output::Close { conn });
        }
    }

    /// Ends a connection when everything on it has been written.
    pub(crate) fn close_after(&mut self, conn: ConnId) {
        match self.wires.get_mut(&conn) {
            Some(wire) if !wire.is_idle() => wire.close_after = true,
            _ => self.close(conn),
        }
    }

    /// Sends one datagram.
    pub(crate) fn datagram(&mut self, to: Target, bytes: Vec<u8>) {
        let conn = self.insert(Wire {
            out: bytes,
            is_datagram: true,
            ..Wire::default()
        });
        self.outputs.push_back(Output::Datagram { conn, to });
    }

    pub(crate) fn get(&self, conn: ConnId) -> Option<&Wire> {
        self.wires.get(&conn)
    }

    pub(crate) fn get_mut(&mut self, conn: ConnId) -> Option<&mut Wire> {
        self.wires.get_mut(&conn)
    }

    /// The connections that stand.
    pub(crate) fn open(&self) -> impl Iterator<Item = ConnId> {
        let open = self.wires.iter().filter(|(_, wire)| wire.is_open);
        open.map(|(conn, _)| *conn)
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    pub(crate) fn transmit<'a>(&'a self, conn: ConnId, out: &mut Gather<'a>) {
        if let Some(wire) = self.wires.get(&conn) {
            out.push(&wire.out[wire.written..]);
        }
    }

    pub(crate) fn transmitted(&mut self, conn: ConnId, len: usize) {
        let Some(wire) = self.wires.get_mut(&conn) else {
            return;
        };
        wire.written += len;
        if wire.is_datagram {
            self.closed(conn);
        } else if wire.is_idle() {
            wire.out.clear();
            (wire.written, wire.announced) = (0, false);
            if wire.close_after {
                self.close(conn);
            }
        }
    }
}
