//! One end of a zenoh session on loopback, told what to do on standard input as `folkmoot-benches peer` is.
//!
//! Arguments: `receive PORT` listens there, `send PORT` connects to it.

use std::io::BufRead as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use zenoh::qos::CongestionControl;
use zenoh::{Config, Wait as _};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error + Send + Sync>>;

const KEY: &str = "folkmoot/benches";

/// What is to come, and what was out of order.
#[derive(Default)]
struct Expected {
    left: AtomicU64,
    next: AtomicU64,
    overtaken: AtomicU64,
}

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [role, port] = &arguments[..] else {
        return Err("usage: folkmoot-zenoh-peer receive|send PORT".into());
    };
    let mut config = Config::default();
    config.insert_json5("mode", "\"peer\"")?;
    config.insert_json5("scouting/multicast/enabled", "false")?;
    let endpoint = format!("[\"tcp/127.0.0.1:{port}\"]");
    match role.as_str() {
        "receive" => config.insert_json5("listen/endpoints", &endpoint)?,
        _ => {
            config.insert_json5("listen/endpoints", "[]")?;
            config.insert_json5("connect/endpoints", &endpoint)?;
        }
    }
    let session = zenoh::open(config).wait()?;
    let expected = Arc::<Expected>::default();
    let _subscriber = match role.as_str() {
        "receive" => {
            let expected = Arc::clone(&expected);
            let subscriber = session.declare_subscriber(KEY).callback(move |sample| {
                let bytes = sample.payload().to_bytes();
                let number = bytes.first_chunk::<8>().map_or(0, |n| u64::from_be_bytes(*n));
                let next = expected.next.swap(number + 1, Ordering::Relaxed);
                if number < next {
                    expected.overtaken.fetch_add(1, Ordering::Relaxed);
                }
                if expected.left.fetch_sub(1, Ordering::Relaxed) == 1 {
                    println!("RECEIVED {} 0", expected.overtaken.load(Ordering::Relaxed));
                }
            });
            Some(subscriber.wait()?)
        }
        _ => None,
    };
    let publisher = session
        .declare_publisher(KEY)
        .congestion_control(CongestionControl::Block)
        .wait()?;
    println!("READY");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["receive", threads, each, ..] => {
                let total = threads.parse::<u64>()? * each.parse::<u64>()?;
                expected.next.store(0, Ordering::Relaxed);
                expected.overtaken.store(0, Ordering::Relaxed);
                expected.left.store(total, Ordering::Relaxed);
                println!("OK");
            }
            ["send", _, each, size, _] => {
                while !publisher.matching_status().wait()?.matching() {
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                let mut message = vec![0; size.parse()?];
                for number in 0..each.parse::<u64>()? {
                    message[..8].copy_from_slice(&number.to_be_bytes());
                    publisher.put(&message[..]).wait()?;
                }
                println!("SENT 0 0");
            }
            _ => return Err(format!("`{line}`?").into()),
        }
    }
    session.close().wait()?;
    Ok(())
}
