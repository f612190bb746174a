//! A server of ours with the session layer, and deltas without HTTP: the counterpart of `java/TomcatNode.java` for both.

use std::io::BufRead as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::get;
use folkmoot::{
    Cluster, DeltaManager, Session, SessionError, SessionId, SessionLayer, StaticMember,
};
use folkmoot_core::session::EventType;

use crate::latency::Latencies;
use crate::{Result, local};

/// The bound of every wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs until standard input ends: own port, the other's, send options, the port for HTTP, bytes set by each
/// request.
///
/// # Errors
/// No such port, or no member.
pub fn run(port: u16, other: u16, options: u32, http: u16, size: usize) -> Result<()> {
    let address = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let member = |port| StaticMember::new(SocketAddr::new(address, port), local::unique_id(port));
    let cluster = Cluster::builder()
        .receiver_address(address)
        .receiver_port(port)
        .auto_bind(1)
        .unique_id(local::unique_id(port))
        .static_members([member(other)])
        .channel_send_options(folkmoot::SendOptions::from_bits(options))
        .start()?;
    let manager = cluster.delta_manager("/shop")?;
    if manager.wait_ready(PATIENCE).is_none() {
        return Err("no state in time".into());
    }
    if http > 0 {
        serve(&manager, http, size)?;
    }
    while cluster.members().is_empty() {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("READY");
    let mut session = None;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["expect", count] => {
                let until = received(&manager) + count.parse::<u64>()?;
                println!("OK");
                let manager = manager.clone();
                std::thread::spawn(move || {
                    while received(&manager) < until {
                        std::thread::sleep(Duration::from_millis(1));
                    }
                    println!("RECEIVED 0 0");
                });
            }
            ["deltas", count, size] => {
                let id = match &session {
                    Some(id) => id,
                    None => session.insert(manager.create_session()?),
                };
                deltas(&manager, id, count.parse()?, size.parse()?)?;
            }
            _ => return Err(format!("`{line}`?").into()),
        }
    }
    cluster.shutdown_blocking();
    Ok(())
}

fn received(manager: &DeltaManager) -> u64 {
    manager.stats().received.get(EventType::SessionDelta)
}

/// Changes an attribute `count` times, each time as one request would.
fn deltas(manager: &DeltaManager, id: &SessionId, count: u64, size: usize) -> Result<()> {
    let mut latencies = Latencies::default();
    let mut full = 0;
    let mut value = "x".repeat(size);
    for number in 0..count {
        // As the other side does: one character is another one each time.
        let at = usize::try_from(number)? % size;
        value.replace_range(at..=at, "y");
        let began = std::time::Instant::now();
        let delivery = loop {
            match manager.request(id, |session| {
                session.write_attribute("cart", value.as_str())
            }) {
                Ok((changed, delivery)) => {
                    changed?;
                    break delivery;
                }
                // A full queue: room comes as the other node reads.
                Err(SessionError::Send(_)) => {
                    full += 1;
                    std::thread::sleep(Duration::from_micros(50));
                }
                Err(error) => return Err(error.into()),
            }
        };
        value.replace_range(at..=at, "x");
        if let Some(delivery) = delivery {
            if !delivery.wait().is_complete() {
                return Err("a delta was not acknowledged".into());
            }
            latencies.add(u64::try_from(began.elapsed().as_nanos())?);
        }
    }
    println!("SENT 0 {full} {}", latencies.report());
    Ok(())
}

/// Answers `/shop/put`, and `/shop/bare` without the session layer, on a runtime of its own: two threads, as there are two processors in the comparison.
fn serve(manager: &DeltaManager, http: u16, size: usize) -> Result<()> {
    let number = &*Box::leak(Box::new(AtomicU64::new(0)));
    let put = move |session: Session| async move {
        let fill = b'a' + (number.fetch_add(1, Ordering::Relaxed) % 16) as u8;
        let mut value = "x".repeat(size);
        value.replace_range(..1, char::from(fill).encode_utf8(&mut [0; 4]));
        session.insert("cart", &value)?;
        Ok::<_, SessionError>("ok")
    };
    let app = Router::new()
        .route("/shop/put", get(put))
        .layer(SessionLayer::new(manager))
        .route("/shop/bare", get(|| async { "ok" }));
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let listener = runtime.block_on(tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, http)))?;
    std::thread::spawn(move || {
        if let Err(error) = runtime.block_on(async { axum::serve(listener, app).await }) {
            eprintln!("serving failed: {error}");
        }
    });
    Ok(())
}
