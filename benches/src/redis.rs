//! Callers that write keys to a Redis and, with a replica, wait until it has them; told what to do as `peer` is.

use std::io::{BufRead as _, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Instant;

use crate::Result;
use crate::latency::Latencies;

/// Runs until standard input ends. Options 6 wait for one replica (`WAIT 1`), others for none.
///
/// # Errors
/// The server is not there or says something unexpected.
pub fn run(port: u16) -> Result<()> {
    println!("READY");
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let words: Vec<u64> = line
            .split_whitespace()
            .skip(1)
            .map(str::parse)
            .collect::<std::result::Result<_, _>>()?;
        let [callers, each, size, options] = words[..] else {
            return Err(format!("`{line}`?").into());
        };
        let all = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..callers)
                .map(|caller| scope.spawn(move || write(port, caller, each, size, options)))
                .collect();
            let mut all = Latencies::default();
            for caller in callers {
                let took = caller.join().map_err(|_| "a caller panicked")??;
                all.merge(&took);
            }
            Ok::<_, Box<dyn std::error::Error + Send + Sync>>(all)
        })?;
        println!("SENT 0 0 {}", all.report());
    }
    Ok(())
}

fn write(port: u16, caller: u64, each: u64, size: u64, options: u64) -> Result<Latencies> {
    let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    stream.set_nodelay(true)?;
    let key = format!("k{caller}");
    let mut request = format!(
        "*3\r\n$3\r\nSET\r\n${}\r\n{key}\r\n${size}\r\n{}\r\n",
        key.len(),
        "x".repeat(usize::try_from(size)?)
    )
    .into_bytes();
    let answers: &[u8] = match options & 6 {
        6 => {
            request.extend_from_slice(b"*3\r\n$4\r\nWAIT\r\n$1\r\n1\r\n$4\r\n3000\r\n");
            b"+OK\r\n:1\r\n"
        }
        _ => b"+OK\r\n",
    };
    let mut latencies = Latencies::default();
    let mut answer = vec![0; answers.len()];
    for _ in 0..each {
        let began = Instant::now();
        stream.write_all(&request)?;
        stream.read_exact(&mut answer)?;
        if answer != answers {
            return Err(format!("redis: {}", String::from_utf8_lossy(&answer)).into());
        }
        latencies.add(u64::try_from(began.elapsed().as_nanos())?);
    }
    Ok(latencies)
}
