//! A member made by hand that writes down what it is sent. It shares no code with the crates
//! under test.

use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

const GROUP: (Ipv4Addr, u16) = (Ipv4Addr::new(228, 0, 0, 4), 45564);
const START: &[u8] = b"FLT2002";
const END: &[u8] = b"TLF2003";
const ACK: &[u8] = b"FLT2002\x00\x00\x00\x03\x06\x02\x03TLF2003";
const SHUTDOWN: &[u8] = b"BABY-ALEX";
const BYTE_MESSAGE: u32 = 1;
const USE_ACK: u32 = 2;

/// One message as it came.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Recorded {
    /// The options word of its `ChannelData`.
    pub(crate) options: u32,
    /// Its message bytes: a Java stream.
    pub(crate) message: Vec<u8>,
}

impl fmt::Debug for Recorded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "options {}: {}",
            self.options,
            self.message.escape_ascii()
        )
    }
}

/// A live member of a multicast cluster. It says goodbye when it is dropped.
pub(crate) struct Recorder {
    messages: Arc<Mutex<Vec<Recorded>>>,
    running: Arc<AtomicBool>,
    address: SocketAddr,
    threads: Vec<JoinHandle<()>>,
}

impl Recorder {
    /// Joins with a receiver at `address`.
    pub(crate) fn join(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).expect("the recorder's receiver");
        let messages = Arc::new(Mutex::new(Vec::new()));
        let running = Arc::new(AtomicBool::new(true));
        let sink = Arc::clone(&messages);
        let accepting = Arc::clone(&running);
        let acceptor = std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if !accepting.load(Ordering::Relaxed) {
                    break;
                }
                let sink = Arc::clone(&sink);
                std::thread::spawn(move || while receive(&stream, &sink).is_ok() {});
            }
        });
        let beating = Arc::clone(&running);
        let heartbeats = std::thread::spawn(move || {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a UDP socket");
            socket.set_multicast_ttl_v4(0).expect("a TTL");
            let mut alive_ms = 0_i64;
            while beating.load(Ordering::Relaxed) {
                let _ = socket.send_to(&member(address, alive_ms, b""), GROUP);
                std::thread::sleep(Duration::from_millis(100));
                alive_ms += 100;
            }
            let _ = socket.send_to(&member(address, alive_ms, SHUTDOWN), GROUP);
        });
        Self {
            messages,
            running,
            address,
            threads: vec![heartbeats, acceptor],
        }
    }

    /// Everything that was sent so far, in the order of its arrival, without the byte messages
    /// by which failure detectors test a member.
    pub(crate) fn messages(&self) -> Vec<Recorded> {
        self.messages.lock().expect("a list").clone()
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.running.store(false, Ordering::Relaxed);
        // The acceptor looks at the flag when somebody comes.
        let _ = TcpStream::connect(self.address);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// One frame from the stream to the list, acknowledged if it asks for that.
fn receive(mut stream: &TcpStream, sink: &Mutex<Vec<Recorded>>) -> io::Result<()> {
    let mut head = [0; 11];
    stream.read_exact(&mut head)?;
    assert_eq!(&head[..7], START, "a frame's start");
    let length = u32::from_be_bytes([head[7], head[8], head[9], head[10]]) as usize;
    let mut rest = vec![0; length + END.len()];
    stream.read_exact(&mut rest)?;
    assert_eq!(&rest[length..], END, "a frame's end");
    let mut data = &rest[..length];
    let options = u32::from_be_bytes(take(&mut data, 4).try_into().expect("four bytes"));
    take(&mut data, 8);
    for _ in ["unique id", "address"] {
        sized(&mut data);
    }
    let message = sized(&mut data).to_vec();
    assert_eq!(data, b"", "nothing after the message");
    if options & BYTE_MESSAGE == 0 {
        sink.lock()
            .expect("a list")
            .push(Recorded { options, message });
    }
    if options & USE_ACK != 0 {
        stream.write_all(ACK)?;
    }
    Ok(())
}

fn take<'a>(data: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, rest) = data.split_at(length);
    *data = rest;
    taken
}

fn sized<'a>(data: &mut &'a [u8]) -> &'a [u8] {
    let length = u32::from_be_bytes(take(data, 4).try_into().expect("four bytes"));
    take(data, length as usize)
}

/// A member block: the whole of a heartbeat, and the address in a message.
pub(crate) fn member(address: SocketAddr, alive_ms: i64, command: &[u8]) -> Vec<u8> {
    let SocketAddr::V4(ip) = address else {
        panic!("an IPv4 address")
    };
    let mut id = *b"recorder\0\0\0\0\0\0\0\0";
    id[8..12].copy_from_slice(&ip.ip().octets());
    id[12..14].copy_from_slice(&ip.port().to_be_bytes());
    member_of(address, alive_ms, command, b"", id)
}

/// The same with a domain and a unique id of its own.
pub(crate) fn member_of(
    address: SocketAddr,
    alive_ms: i64,
    command: &[u8],
    domain: &[u8],
    unique_id: [u8; 16],
) -> Vec<u8> {
    let SocketAddr::V4(address) = address else {
        panic!("an IPv4 address")
    };
    let mut body = Vec::new();
    body.extend(alive_ms.to_be_bytes());
    body.extend(i32::from(address.port()).to_be_bytes());
    body.extend((-1_i32).to_be_bytes());
    body.extend((-1_i32).to_be_bytes());
    body.push(4);
    body.extend(address.ip().octets());
    for field in [command, domain] {
        body.extend(
            u32::try_from(field.len())
                .expect("a short field")
                .to_be_bytes(),
        );
        body.extend(field);
    }
    body.extend(unique_id);
    body.extend(0_u32.to_be_bytes());
    let mut block = b"TRIBES-B\x01\x00".to_vec();
    block.extend(
        u32::try_from(body.len())
            .expect("a short block")
            .to_be_bytes(),
    );
    block.extend(body);
    block.extend(b"TRIBES-E\x01\x00");
    block
}
