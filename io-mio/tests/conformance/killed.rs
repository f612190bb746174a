//! A node that was killed is started again at once, at the same ports.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::process::{Child, Command, Stdio};

use crate::common::{self, PATIENCE, Role, Toy, config, pattern, run_with, stop};
use folkmoot_mio::{MulticastSocket, bind};

/// Tells a process of this test that it is the node, and its address.
const NODE: &str = "FOLKMOOT_TEST_NODE";
const PORT: u16 = 4000;
const LISTENS: &str = "the node listens";
/// What the kernel does late it does late nearly every time.
const ROUNDS: usize = 20;

/// Does nothing unless it is a process that the next test has started.
#[test]
fn the_node_that_is_killed() {
    let Ok(ip) = std::env::var(NODE) else {
        return;
    };
    let mut config = config();
    config.receiver.ip = ip.parse().expect("an address");
    config.receiver.port = PORT;
    config.receiver.udp_port = Some(PORT);
    config.receiver.auto_bind = 1;
    config.multicast = Some(MulticastSocket {
        group: Ipv4Addr::new(228, 0, 0, 79),
        port: 0,
        bind: Some(Ipv4Addr::LOCALHOST),
        ttl: 0,
        loopback: true,
    });
    let (handle, _) = run_with(
        bind(config).expect("both ports are free"),
        Toy::new(Role::Echo),
    );
    println!("{LISTENS}");
    // Until the other process has gone, should it not come to kill this one.
    let _ = std::io::stdin().read(&mut [0]);
    stop(&handle);
}

fn start(ip: IpAddr) -> Child {
    let mut child = common::start(
        Command::new(std::env::current_exe().unwrap())
            .args(["killed::the_node_that_is_killed", "--exact", "--nocapture"])
            .env(NODE, ip.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped()),
    );
    let said = BufReader::new(child.stdout.take().unwrap());
    let mut lines = said.lines().map_while(Result::ok);
    assert!(
        lines.any(|line| line.contains(LISTENS)),
        "the node could not start"
    );
    child
}

#[test]
fn a_killed_nodes_ports_are_free_at_once() {
    let [_, _, high, low] = std::process::id().to_be_bytes();
    let ip = IpAddr::V4(Ipv4Addr::new(127, high | 0x80, low, 79));
    let to = SocketAddr::new(ip, PORT);
    let udp = UdpSocket::bind((ip, 0)).unwrap();
    let mut node = start(ip);
    for round in 0..ROUNDS {
        // One connection that has carried something, and one that nobody has accepted yet, maybe.
        let mut stream = TcpStream::connect(to).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let said = pattern(100_000 + round);
        let mut heard = vec![0; said.len()];
        stream.write_all(&said).unwrap();
        stream.read_exact(&mut heard).unwrap();
        assert!(heard == said);
        let _late = TcpStream::connect(to).unwrap();
        udp.send_to(b"a datagram", to).unwrap();
        node.kill().unwrap();
        node.wait().unwrap();
        node = start(ip);
        // Who was connected learns of the end, too.
        assert!(matches!(stream.read(&mut heard), Ok(0) | Err(_)));
    }
    node.kill().unwrap();
    node.wait().unwrap();
}
