//! What the sockets alone allow: blocking loops over one loopback connection, told what to do as `peer` is.
//!
//! With ACK (options 2 and 6) every caller's message has its 21 bytes of answer, and as many messages as there are callers
//! are under way; each write carries what may be sent at that moment, all on one thread (`send`), or every caller is a thread that
//! writes its message and sleeps until the reading thread wakes it (`threads`). With `spin` both ends look again and again instead of
//! sleeping. Without ACK, whole frames are joined into
//! writes of `JOIN` bytes, larger ones written one by one.

use std::collections::VecDeque;
use std::io::{BufRead as _, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::Thread;
use std::time::Instant;

use folkmoot_core::wire::ACK_FRAME;

use crate::Result;
use crate::latency::Latencies;

/// Bytes of one write of joined frames.
const JOIN: usize = 64 * 1024;
/// What a frame has beside its message, with our member block.
pub(crate) const OVERHEAD: usize = 130;

/// Runs until standard input ends: `send PORT` or `receive PORT`, with `spin` without ever sleeping in a read.
///
/// # Errors
/// A socket failed.
pub fn run(role: &str, port: u16, spin: bool) -> Result<()> {
    match role {
        "receive" => receive(port, spin),
        _ => send(port, spin),
    }
}

/// Reads what there is, and looks again and again if the stream does not wait by itself.
fn read(stream: &mut TcpStream, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        match stream.read(buffer) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            read => return read,
        }
    }
}

/// The same for writing all of it.
fn write(stream: &mut TcpStream, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match stream.write(bytes) {
            Err(error) if error.kind() == ErrorKind::WouldBlock => std::hint::spin_loop(),
            written => bytes = bytes.get(written?..).unwrap_or_default(),
        }
    }
    Ok(())
}

/// Callers, messages of each, bytes of one, and options.
pub(crate) fn words(line: &str) -> Result<[u64; 4]> {
    let numbers: Vec<u64> = line
        .split_whitespace()
        .skip(1)
        .map(str::parse)
        .collect::<std::result::Result<_, _>>()?;
    numbers[..]
        .try_into()
        .map_err(|_| format!("`{line}`?").into())
}

fn receive(port: u16, spin: bool) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("READY");
    let (mut stream, _) = listener.accept()?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(spin)?;
    let mut buffer = vec![0; 256 * 1024];
    for line in std::io::stdin().lock().lines() {
        let [callers, each, size, options] = words(&line?)?;
        println!("OK");
        let frame = size + OVERHEAD as u64;
        let (total, answers) = (callers * each * frame, options & 2 != 0);
        let acks = ACK_FRAME.repeat(callers as usize);
        let (mut received, mut answered) = (0, 0);
        while received < total {
            let len = read(&mut stream, &mut buffer)?;
            if len == 0 {
                return Err("the sender has gone".into());
            }
            received += len as u64;
            let whole = received / frame;
            if answers && whole > answered {
                let count = (whole - answered) as usize;
                let answers = &acks[..count.min(callers as usize) * ACK_FRAME.len()];
                write(&mut stream, answers)?;
                answered = whole;
            }
        }
        println!("RECEIVED 0 0");
    }
    Ok(())
}

fn send(port: u16, spin: bool) -> Result<()> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    stream.set_nonblocking(spin)?;
    println!("READY");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let threads = line.starts_with("threads");
        let [callers, each, size, options] = words(&line)?;
        let frame = size as usize + OVERHEAD;
        let mut latencies = Latencies::default();
        if threads {
            latencies = sleeping(&stream, callers, each, frame)?;
        } else if options & 2 != 0 {
            pipelined(&mut stream, callers, each, frame, &mut latencies)?;
        } else {
            let at_once = (JOIN / frame).max(1) as u64;
            let bytes = vec![7; at_once as usize * frame];
            let mut left = callers * each;
            while left > 0 {
                let count = left.min(at_once);
                write(&mut stream, &bytes[..count as usize * frame])?;
                left -= count;
            }
        }
        println!("SENT 0 0 {}", latencies.report());
    }
    Ok(())
}

/// Keeps `callers` messages under way until `callers * each` are answered.
fn pipelined(
    stream: &mut TcpStream,
    callers: u64,
    each: u64,
    frame: usize,
    latencies: &mut Latencies,
) -> Result<()> {
    let total = callers * each;
    let bytes = vec![7; callers as usize * frame];
    let mut answers = vec![0; 64 * 1024];
    let (mut sent, mut answered, mut part) = (0, 0, 0);
    while answered < total {
        let may = (answered + callers).min(total) - sent;
        let began = Instant::now();
        if may > 0 {
            write(stream, &bytes[..may as usize * frame])?;
            sent += may;
        }
        let len = read(stream, &mut answers)?;
        if len == 0 {
            return Err("the receiver has gone".into());
        }
        part += len;
        let whole = part / ACK_FRAME.len();
        part %= ACK_FRAME.len();
        answered += whole as u64;
        if callers == 1 && whole > 0 {
            latencies.add(u64::try_from(began.elapsed().as_nanos())?);
        }
    }
    Ok(())
}

/// A thread for each caller: it writes its message, and sleeps until this thread has read the answer.
fn sleeping(stream: &TcpStream, callers: u64, each: u64, frame: usize) -> Result<Latencies> {
    // Who waits for an answer, in the order of the messages.
    let order = Mutex::new(VecDeque::<(Arc<AtomicBool>, Thread)>::new());
    let lock = || order.lock().unwrap_or_else(PoisonError::into_inner);
    let writing = Mutex::new(());
    let total = callers * each;
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..callers)
            .map(|_| {
                scope.spawn(|| -> Result<Latencies> {
                    let message = vec![7; frame];
                    let answered = Arc::new(AtomicBool::new(false));
                    let mut latencies = Latencies::default();
                    for _ in 0..each {
                        let began = Instant::now();
                        answered.store(false, Ordering::Relaxed);
                        {
                            // The order of the writes is that of the answers.
                            let _one = writing.lock().unwrap_or_else(PoisonError::into_inner);
                            lock().push_back((Arc::clone(&answered), std::thread::current()));
                            let mut stream: &TcpStream = stream;
                            stream.write_all(&message)?;
                        }
                        while !answered.load(Ordering::Acquire) {
                            std::thread::park();
                        }
                        latencies.add(u64::try_from(began.elapsed().as_nanos())?);
                    }
                    Ok(latencies)
                })
            })
            .collect();
        let mut stream: &TcpStream = stream;
        let mut answers = vec![0; 64 * 1024];
        let (mut answered, mut part) = (0, 0);
        let mut woken = Vec::new();
        while answered < total {
            let len = stream.read(&mut answers)?;
            if len == 0 {
                return Err("the receiver has gone".into());
            }
            part += len;
            let whole = part / ACK_FRAME.len();
            part %= ACK_FRAME.len();
            answered += whole as u64;
            woken.extend(lock().drain(..whole));
            for (answered, thread) in woken.drain(..) {
                answered.store(true, Ordering::Release);
                thread.unpark();
            }
        }
        let mut all = Latencies::default();
        for thread in threads {
            all.merge(&thread.join().map_err(|_| "a caller panicked")??);
        }
        Ok(all)
    })
}
