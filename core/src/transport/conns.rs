//! The table behind every [`ConnId`].

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use super::receiver::Receiver;
use crate::channel::MemberIndex;
use crate::engine::ConnId;

/// What an id stands for.
#[derive(Clone, Debug)]
pub(crate) enum Conn {
    /// Nothing. What was still to be written when it was closed stays readable until the place is used again, since a
    /// driver may pull it after it has seen the close.
    Free(Vec<u8>),
    /// Opened by a peer.
    Receiver(Box<Receiver>),
    /// Taken out of the table for a moment.
    Busy,
    /// A lane of a member, by its number.
    Lane(MemberIndex, u8),
    /// A TCP check of a member: the frame to write, and how much of it has been.
    Probe {
        /// Whom it checks.
        member: MemberIndex,
        /// The whole frame once the connection stands, empty before.
        frame: Vec<u8>,
        /// Bytes written.
        sent: usize,
    },
    /// One datagram.
    Datagram(Vec<u8>),
}

#[derive(Clone, Debug)]
struct Slot {
    generation: u32,
    conn: Conn,
}

/// All connections and waiting datagrams.
#[derive(Clone, Debug, Default)]
pub(crate) struct Conns {
    slots: Vec<Slot>,
    /// Oldest first, so that a place rests before it is used again.
    free: VecDeque<u32>,
}

impl Conns {
    /// Gives `conn` an id.
    pub(crate) fn insert(&mut self, conn: Conn) -> ConnId {
        if let Some(index) = self.free.pop_front()
            && let Some(slot) = self.slots.get_mut(index as usize)
        {
            slot.generation = slot.generation.wrapping_add(1);
            slot.conn = conn;
            return ConnId::new(index, slot.generation);
        }
        let index = self.slots.len() as u32;
        self.slots.push(Slot {
            generation: 0,
            conn,
        });
        ConnId::new(index, 0)
    }

    pub(crate) fn get(&self, id: ConnId) -> Option<&Conn> {
        let slot = self.slots.get(id.slot() as usize)?;
        (slot.generation == id.generation()).then_some(&slot.conn)
    }

    pub(crate) fn get_mut(&mut self, id: ConnId) -> Option<&mut Conn> {
        let slot = self.slots.get_mut(id.slot() as usize)?;
        (slot.generation == id.generation()).then_some(&mut slot.conn)
    }

    /// Ends `id`; `last` are bytes that a driver may still want to write.
    pub(crate) fn remove(&mut self, id: ConnId, last: Vec<u8>) -> Option<Conn> {
        let conn = self.get_mut(id)?;
        if matches!(conn, Conn::Free(_)) {
            return None;
        }
        let removed = core::mem::replace(conn, Conn::Free(last));
        self.free.push_back(id.slot());
        Some(removed)
    }

    /// All ids in use, in order of their slots.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnId, &Conn)> {
        self.slots.iter().enumerate().filter_map(|(index, slot)| {
            let id = ConnId::new(index as u32, slot.generation);
            (!matches!(slot.conn, Conn::Free(_))).then_some((id, &slot.conn))
        })
    }

    /// The id at `slot`, if one is in use there.
    pub(crate) fn at(&self, slot: usize) -> Option<ConnId> {
        let place = self.slots.get(slot)?;
        (!matches!(place.conn, Conn::Free(_))).then(|| ConnId::new(slot as u32, place.generation))
    }

    /// Places, used and free.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len()
    }
}
