//! A member that reads and never answers.

use std::io::Read as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use folkmoot::{Cluster, Event, FaultCause, Member, SenderConfig, SessionLayer};

use crate::support::{Node, PATIENCE, address, unique_id};

/// Heartbeats on a group and a listener: all that it takes to be a member.
struct Silent {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<()>>,
}

impl Silent {
    fn start(group: SocketAddr) -> Self {
        let listener = TcpListener::bind((address(), 0)).expect("a free port");
        let member = Member::new(listener.local_addr().expect("bound"), unique_id(9));
        let stop = Arc::new(AtomicBool::new(false));
        let heart = {
            let stop = Arc::clone(&stop);
            let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
            socket.set_multicast_ttl_v4(0).expect("a multicast socket");
            thread::spawn(move || {
                let mut heartbeat = Vec::new();
                member.write(&mut heartbeat).expect("a vector has room");
                while !stop.load(Ordering::Relaxed) {
                    socket
                        .send_to(&heartbeat, group)
                        .expect("multicast on loopback");
                    thread::sleep(Duration::from_millis(50));
                }
            })
        };
        let ears = {
            let stop = Arc::clone(&stop);
            listener.set_nonblocking(true).expect("a listener");
            thread::spawn(move || {
                let mut heard = Vec::new();
                let mut buffer = [0; 4096];
                while !stop.load(Ordering::Relaxed) {
                    if let Ok((stream, _)) = listener.accept() {
                        stream.set_nonblocking(true).expect("a stream");
                        heard.push(stream);
                    }
                    for stream in &mut heard {
                        while stream.read(&mut buffer).is_ok_and(|len| len > 0) {}
                    }
                    thread::sleep(Duration::from_millis(1));
                }
            })
        };
        Self {
            stop,
            threads: vec![heart, ears],
        }
    }
}

impl Drop for Silent {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

#[tokio::test]
async fn with_options_6_a_member_that_does_not_answer_is_told_of_but_fails_no_response() {
    let [_, a, b, c] = address().octets();
    let group = Ipv4Addr::new(239, a, b, c);
    let cluster = Cluster::builder()
        .multicast(group, 45564)
        .multicast_bind(Ipv4Addr::LOCALHOST)
        .multicast_ttl(0)
        .receiver_address(address())
        .channel_send_options(6)
        .sender(SenderConfig {
            timeout: Duration::from_millis(200),
            ..SenderConfig::default()
        })
        .jvm_route("n1")
        .state_dir(std::env::temp_dir().join(format!("folkmoot-test-{}", std::process::id())))
        .start()
        .expect("multicast on loopback");
    let mut node = Node::on(cluster);
    node.manager.wait_ready(PATIENCE).expect("ready");
    let layer = SessionLayer::new(&node.manager);
    node.router = crate::support::application().layer(layer.clone());

    let silent = Silent::start(SocketAddr::new(group.into(), 45564));
    node.await_members(1);
    let mut events = node.cluster.subscribe();
    let (told, text) = node.ask("/set/k/v", None).await;
    assert_eq!(text, "set");
    let id = told.expect("a cookie");
    assert_eq!(node.attributes(&id), Some(vec!["k=v".to_owned()]));
    assert_eq!(layer.stats().failed_sends, 1);
    loop {
        if let Event::NotAcknowledged { faulty, .. } = events.recv().await.expect("an event") {
            assert_eq!(faulty[0].1, FaultCause::TimedOut);
            assert_eq!(faulty[0].0.unique_id, unique_id(9));
            break;
        }
    }
    // The end of a session is waited for as well: nothing else is sent in this request that could fail.
    let (_, text) = node.ask("/invalidate", Some(&id)).await;
    assert_eq!(text, "true");
    assert_eq!(node.attributes(&id), None);
    assert_eq!(layer.stats().failed_sends, 2);
    drop(silent);
}
