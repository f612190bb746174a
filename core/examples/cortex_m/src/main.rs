//! A cluster member without an operating system, an allocator or a network of its own.
//!
//! It runs on QEMU's mps2-an385, a Cortex-M3 board, and reaches its cluster through a bridge on the other end of a serial
//! line, which opens the connections and sends the datagrams that the member asks for. To the cluster it is a member like
//! any other: it sends heartbeats, is checked, acknowledges messages and keeps the sessions of one application.
#![no_std]
#![no_main]

mod capacity;
mod clock;
mod line;
mod log;
mod stack;
mod uart;

use core::net::{Ipv4Addr, SocketAddr, SocketAddrV4};

use capacity::Memory;
use cortex_m_rt::entry;
use folkmoot_core::engine::{CloseReason, ConnId, Engine, Gather, Input, Output, Target};
use folkmoot_core::fixed::{self, Event};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::UniqueId;
use line::{Incoming, Message};
use static_cell::ConstStaticCell;
use uart::Uart;

static MEMORY: ConstStaticCell<Memory> = ConstStaticCell::new(Memory::new());
static INCOMING: ConstStaticCell<Incoming> = ConstStaticCell::new(Incoming::new());

/// The application whose sessions it keeps: the one at the root of the host `localhost`.
const MANAGER: &str = "localhost#";

/// How often the bridge is told how the member does.
const STATUS_EVERY_MS: u64 = 500;

/// How long after a byte the next one is waited for without sleeping.
const AWAKE_MS: u64 = 2;

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    defmt::error!("panic: {}", defmt::Display2Format(&info.message()));
    cortex_m::asm::udf();
}

fn now() -> Instant {
    Instant::from_millis(clock::millis())
}

/// What the bridge says at the start.
struct Start {
    seed: [u8; 32],
    unix_ms: u64,
    address: SocketAddr,
    previous: Option<UniqueId>,
}

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let [a, b, c, d, high, low] = *bytes.first_chunk::<6>()?;
    let ip = Ipv4Addr::new(a, b, c, d);
    let port = u16::from_be_bytes([high, low]);
    Some(SocketAddr::V4(SocketAddrV4::new(ip, port)))
}

fn read_start(message: &Message<'_>) -> Option<Start> {
    if message.kind != line::START {
        return None;
    }
    let (seed, rest) = message.content.split_first_chunk::<32>()?;
    let (unix_ms, rest) = rest.split_first_chunk::<8>()?;
    Some(Start {
        seed: *seed,
        unix_ms: u64::from_be_bytes(*unix_ms),
        address: address(rest)?,
        previous: rest.get(6..)?.first_chunk().copied().map(UniqueId),
    })
}

#[entry]
fn main() -> ! {
    // SAFETY: the stack begins at the end of 4 MiB of memory, of which everything else takes far less.
    unsafe { stack::paint() };
    if let Some(peripherals) = cortex_m::Peripherals::take() {
        clock::start(peripherals.SYST);
    }
    // SAFETY: nobody else uses it.
    let mut line = unsafe { Uart::bridge() };
    let incoming = INCOMING.take();
    defmt::info!(
        "{=usize} bytes of memory for {=str}",
        size_of::<Memory>(),
        MANAGER
    );
    let start = loop {
        if let Some(byte) = line.receive()
            && let Some(message) = incoming.push(byte)
            && let Some(start) = read_start(&message)
        {
            break start;
        }
    };
    let mut config = fixed::Config::new(start.address, MANAGER);
    config.previous_unique_id = start.previous;
    let member = fixed::Cluster::new(config, MEMORY.take(), (), start.seed, now(), start.unix_ms);
    let mut member = match member {
        Ok(member) => member,
        Err(error) => defmt::panic!("{}", error),
    };
    member.start(now());
    let identity = member.unique_id();
    line.send(&line::header(line::IDENTITY, 0, identity.0.len()));
    line.send(&identity.0);
    drain(&mut member, &mut line);
    defmt::info!("started as {}", identity);
    let (mut status_at, mut awake_until) = (0, 0);
    loop {
        while let Some(byte) = line.receive() {
            awake_until = clock::millis() + AWAKE_MS;
            if let Some(message) = incoming.push(byte) {
                take(&mut member, &mut line, &message);
                drain(&mut member, &mut line);
            }
        }
        if member.poll_timeout().is_some_and(|at| at <= now()) {
            member.handle(now(), Input::Timeout);
            drain(&mut member, &mut line);
        }
        if clock::millis() >= status_at {
            status_at = clock::millis() + STATUS_EVERY_MS;
            status(&member, &mut line);
        }
        if clock::millis() > awake_until {
            // Until the next tick of the clock.
            cortex_m::asm::wfi();
        }
    }
}

/// Hands what the bridge says to the member.
fn take(member: &mut fixed::Cluster<'_>, line: &mut Uart, message: &Message<'_>) {
    let (conn, content) = (ConnId::from_u64(message.conn), message.content);
    match message.kind {
        line::CONNECTED => member.handle(now(), Input::Connected { conn }),
        line::BYTES => member.handle(
            now(),
            Input::Received {
                conn,
                bytes: content,
            },
        ),
        line::CLOSED => {
            let reason = match content {
                b"refused" => CloseReason::Refused,
                b"reset" => CloseReason::Reset,
                b"end" => CloseReason::EndOfStream,
                _ => CloseReason::Failed,
            };
            member.handle(now(), Input::Closed { conn, reason });
        }
        line::DATAGRAM => {
            if let (Some(from), Some((_, bytes))) = (address(content), content.split_at_checked(6))
            {
                member.handle(now(), Input::Datagram { from, bytes });
            }
        }
        line::OFFERED => {
            let from = address(content);
            let id = from.and_then(|from| member.accept(now(), from));
            let answer = id.map(|id| id.to_u64().to_be_bytes());
            let answer = answer.as_ref().map_or(&[][..], |answer| answer);
            line.send(&line::header(line::ACCEPTED, message.conn, answer.len()));
            line.send(answer);
        }
        line::STOP => member.stop(now()),
        kind => defmt::warn!("the bridge says {=u8}", kind),
    }
}

/// Does what the member wants, and logs what it says.
fn drain(member: &mut fixed::Cluster<'_>, line: &mut Uart) {
    while let Some(output) = member.poll_output() {
        defmt::debug!("{}", output);
        match output {
            Output::Connect { conn, to } => {
                let mut content = [0; 6];
                if let SocketAddr::V4(to) = to {
                    let ([a, b, c, d], [high, low]) = (to.ip().octets(), to.port().to_be_bytes());
                    content = [a, b, c, d, high, low];
                }
                line.send(&line::header(line::CONNECT, conn.to_u64(), content.len()));
                line.send(&content);
            }
            Output::Transmit { conn } => while transmit(member, line, line::BYTES, conn) {},
            Output::Datagram { conn, to } => {
                // The member sends none but heartbeats.
                if to == Target::Group {
                    transmit(member, line, line::DATAGRAM, conn);
                }
            }
            // This member has no use for half a connection.
            Output::HalfClose { conn } | Output::Close { conn } => {
                while transmit(member, line, line::BYTES, conn) {}
                line.send(&line::header(line::CLOSE, conn.to_u64(), 0));
            }
            Output::Abort { conn } => line.send(&line::header(line::ABORT, conn.to_u64(), 0)),
            Output::PauseRead { .. } | Output::ResumeRead { .. } => {}
        }
    }
    while let Some(event) = member.poll_event() {
        match event {
            Event::BadInput(_) | Event::Refused(..) | Event::Faulty(..) => {
                defmt::warn!("{}", event);
            }
            _ => defmt::info!("{}", event),
        }
    }
}

/// Sends some of what waits on a connection; whether there was anything.
fn transmit(member: &mut fixed::Cluster<'_>, line: &mut Uart, kind: u8, conn: ConnId) -> bool {
    let sent = {
        let mut gather = Gather::new();
        member.transmit(conn, &mut gather);
        let len = gather.len().min(line::CONTENT_MAX);
        if len == 0 {
            return false;
        }
        line.send(&line::header(kind, conn.to_u64(), len));
        let mut left = len;
        for run in gather.runs() {
            let part = run.get(..left.min(run.len())).unwrap_or_default();
            line.send(part);
            left -= part.len();
        }
        len
    };
    member.transmitted(now(), conn, sent);
    true
}

/// Tells the bridge how the member does.
fn status(member: &fixed::Cluster<'_>, line: &mut Uart) {
    let stats = member.stats();
    let numbers = [
        member.member_count() as u32,
        member.session_count() as u32,
        u32::from(member.is_ready()),
        stack::used(),
        stats.messages_received,
        stats.acks_sent,
        size_of::<Memory>() as u32,
        size_of_val(member) as u32,
    ];
    line.send(&line::header(line::STATUS, 0, numbers.len() * 4));
    for number in numbers {
        line.send(&number.to_be_bytes());
    }
}
