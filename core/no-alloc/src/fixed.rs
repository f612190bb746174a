//! The member without a heap (`fixed`), from the outside: whatever state it is in and whatever it is told.
//!
//! Each function takes a member that somebody else has made, so that the optimizer knows nothing of its state or its
//! capacities: the proof is for all of them.

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Output};
use folkmoot_core::fixed::{Cluster, Config, Inbound, Listener, Membership, Memory, To, Verdict};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::SendOptions;

use crate::lent;

/// Answers what the byte says that comes first.
pub struct Echo(u8);

impl Listener for Echo {
    fn message_received(&mut self, _: Instant, message: &Inbound<'_>) -> Verdict {
        #[cfg(feature = "control-member")]
        let _ = message.message[usize::from(self.0)];
        match message.message.first() == Some(&self.0) {
            true => Verdict::Processed,
            false => Verdict::Failed,
        }
    }
}

/// The member that all of this is about.
pub type Member = Cluster<'static, Echo>;

/// Capacities to make one with.
type Small = Memory<2, 8, 2048, 2048, 4, 512, 1024, 64, 8>;

/// A moment and an address that nobody knows.
#[repr(C)]
pub struct At {
    nanos: u64,
    unix_ms: u64,
    ip: [u8; 16],
    port: u16,
    v4: bool,
}

impl At {
    fn now(&self) -> Instant {
        Instant::from_nanos(self.nanos)
    }

    fn address(&self) -> SocketAddr {
        let [a, b, c, d, ..] = self.ip;
        let ip = match self.v4 {
            true => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            false => IpAddr::V6(Ipv6Addr::from(self.ip)),
        };
        SocketAddr::new(ip, self.port)
    }
}

/// Makes a member in `memory`; whether its configuration can work.
#[unsafe(no_mangle)]
pub extern "C" fn folkmoot_new(
    memory: &'static mut Small,
    config: &Config<'static>,
    at: &At,
    seed: &[u8; 32],
    place: &mut Option<Member>,
) -> bool {
    let made = Cluster::new(
        Config {
            address: at.address(),
            ..*config
        },
        memory,
        Echo(7),
        *seed,
        at.now(),
        at.unix_ms,
    );
    *place = made.ok();
    place.is_some()
}

#[unsafe(no_mangle)]
pub extern "C" fn folkmoot_start(member: &mut Member, at: &At) {
    member.start(at.now());
}

#[unsafe(no_mangle)]
pub extern "C" fn folkmoot_stop(member: &mut Member, at: &At) {
    member.stop(at.now());
}

#[unsafe(no_mangle)]
pub extern "C" fn folkmoot_accept(member: &mut Member, at: &At) -> u64 {
    let id = member.accept(at.now(), at.address());
    id.map_or(0, ConnId::to_u64)
}

/// What a driver tells a member, of any connection.
///
/// # Safety
///
/// As [`lent`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn folkmoot_handle(
    member: &mut Member,
    at: &At,
    kind: u8,
    conn: u64,
    data: *const u8,
    len: usize,
) {
    // SAFETY: the caller's promise.
    let bytes = unsafe { lent(data, len) };
    let conn = ConnId::from_u64(conn);
    let input = match kind {
        0 => Input::Timeout,
        1 => Input::Connected { conn },
        2 => Input::Received { conn, bytes },
        3 => Input::Datagram {
            from: at.address(),
            bytes,
        },
        4 => Input::Closed {
            conn,
            reason: CloseReason::EndOfStream,
        },
        _ => Input::Closed {
            conn,
            reason: CloseReason::Refused,
        },
    };
    member.handle(at.now(), input);
}

/// What a member wants; the bytes to be written are handed to `write`, and taken as written.
#[unsafe(no_mangle)]
pub extern "C" fn folkmoot_poll(
    member: &mut Member,
    at: &At,
    write: extern "C" fn(u64, &u8, usize) -> usize,
) -> u64 {
    while let Some(output) = member.poll_output() {
        let (Output::Transmit { conn } | Output::Datagram { conn, .. }) = output else {
            continue;
        };
        let written = {
            let mut gather = Gather::new();
            member.transmit(conn, &mut gather);
            let written = gather.runs().iter().filter_map(|run| {
                let first = run.first()?;
                Some(write(conn.to_u64(), first, run.len()))
            });
            written.fold(0, usize::wrapping_add)
        };
        member.transmitted(at.now(), conn, written);
    }
    let mut seen = member.poll_timeout().map_or(0, Instant::as_nanos);
    while let Some(event) = member.poll_event() {
        seen = seen.wrapping_add(core::mem::size_of_val(&event) as u64);
    }
    for member in member.members() {
        seen = seen.wrapping_add(u64::from(member.address.port()));
    }
    seen
}

/// Messages of the application's own.
///
/// # Safety
///
/// As [`lent`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn folkmoot_send(
    member: &mut Member,
    at: &At,
    options: u32,
    data: *const u8,
    len: usize,
) -> bool {
    // SAFETY: the caller's promise.
    let bytes = unsafe { lent(data, len) };
    let first = member.members().next();
    let to = first.map_or(To::All, |first| To::Member(first.index));
    let options = SendOptions::from_bits(options);
    let one = member.send(at.now(), to, options, bytes).is_ok();
    let all = member.send(at.now(), To::All, options, bytes).is_ok();
    one || all
}

/// What firmware does with sessions itself.
///
/// # Safety
///
/// As [`lent`].
#[unsafe(no_mangle)]
pub unsafe extern "C" fn folkmoot_session(
    member: &mut Member,
    at: &At,
    action: u8,
    id: *const u8,
    id_len: usize,
    data: *const u8,
    len: usize,
) -> usize {
    // SAFETY: the caller's promise.
    let (id, data) = unsafe { (lent(id, id_len), lent(data, len)) };
    let id = core::str::from_utf8(id).unwrap_or_default();
    let now = at.now();
    match action {
        0 => member.create_session(now).map_or(0, |id| id.as_str().len()),
        1 => usize::from(member.access_session(now, id)),
        2 => usize::from(member.set_attribute(id, "name", data).is_ok()),
        3 => usize::from(member.remove_attribute(id, "name").is_ok()),
        4 => {
            member.request_completed(now, id);
            member.end_access(now, id);
            0
        }
        5 => usize::from(member.expire_session(now, id)),
        6 => member
            .change_session_id(now, id)
            .map_or(0, |id| id.as_str().len()),
        7 => {
            member.get_all_cluster_sessions(now);
            0
        }
        8 => member.attribute(id, "name").map_or(0, <[u8]>::len),
        9 => member
            .sessions()
            .map(|session| session.id.len())
            .fold(0, usize::wrapping_add),
        10 => member.session(id).map_or(0, |session| session.id.len()),
        _ => {
            let attributes = member.attributes(id);
            let sizes = attributes.map(|(name, value)| name.len().wrapping_add(value.len()));
            sizes.fold(0, usize::wrapping_add)
        }
    }
}

/// A list of members instead of heartbeats.
#[unsafe(no_mangle)]
pub extern "C" fn folkmoot_static(config: &mut Config<'static>, members: &'static Members) {
    if let Membership::Multicast { frequency, .. } = config.membership {
        config.membership = Membership::Static {
            members,
            ping_interval: frequency,
        };
    }
}

/// Receivers and unique ids.
type Members = [(SocketAddr, folkmoot_core::wire::UniqueId); 2];
