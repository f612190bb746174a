//! Clients that count in their sessions while nodes are killed: what was answered must never be lost.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use serde_json::Value;
use tokio::task::JoinHandle;

use super::client::{Client, Failure};

/// What all clients together have seen so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Seen {
    /// Requests that were answered.
    pub(crate) answered: u64,
    /// Requests that nobody answered.
    pub(crate) failed: u64,
    /// Answers that had forgotten an earlier one.
    pub(crate) lost: u64,
}

#[derive(Default)]
struct Counters {
    answered: AtomicU64,
    failed: AtomicU64,
    lost: AtomicU64,
    stop: AtomicBool,
}

/// Clients at work.
pub(crate) struct Load {
    counters: Arc<Counters>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` clients, each with a session of its own, that count by way of `front`.
    pub(crate) fn start(clients: usize, front: SocketAddr) -> Self {
        let counters = Arc::new(Counters::default());
        let shared = Client::new();
        let clients = (0..clients)
            .map(|_| tokio::spawn(count(shared.fresh(), front, Arc::clone(&counters))))
            .collect();
        Self { counters, clients }
    }

    /// What the clients have seen so far.
    pub(crate) fn seen(&self) -> Seen {
        Seen {
            answered: self.counters.answered.load(Ordering::Relaxed),
            failed: self.counters.failed.load(Ordering::Relaxed),
            lost: self.counters.lost.load(Ordering::Relaxed),
        }
    }

    /// Waits for the clients' last answers.
    pub(crate) async fn stop(self) -> Result<Seen, Failure> {
        self.counters.stop.store(true, Ordering::Relaxed);
        let counters = Arc::clone(&self.counters);
        for client in self.clients {
            client.await.map_err(|error| error.to_string())?;
        }
        Ok(Seen {
            answered: counters.answered.load(Ordering::Relaxed),
            failed: counters.failed.load(Ordering::Relaxed),
            lost: counters.lost.load(Ordering::Relaxed),
        })
    }
}

/// Counts up by one a request. A request that is repeated on another node may count twice; none may count back.
async fn count(mut client: Client, front: SocketAddr, counters: Arc<Counters>) {
    let mut last = 0;
    while !counters.stop.load(Ordering::Relaxed) {
        match client.post(front, "/api/count").await {
            Ok(answer) => {
                let clicks = answer.get("clicks").and_then(Value::as_u64).unwrap_or(0);
                counters.answered.fetch_add(1, Ordering::Relaxed);
                if clicks <= last {
                    counters.lost.fetch_add(1, Ordering::Relaxed);
                    tracing::warn!(clicks, last, session = ?client.session, "an answered click was lost");
                }
                last = clicks;
            }
            Err(error) => {
                counters.failed.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(%error, "a click was not answered");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
}
