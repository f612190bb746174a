//! The victim, the bystander, and what must stay as it was.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use folkmoot::java::JavaBytes;
use folkmoot::{
    ChannelStats, Cluster, ClusterBuilder, DeltaManager, DeltaManagerConfig, SessionId,
};
use socket2::{Domain, Socket, Type};

use crate::log;
use crate::support::installed;
use crate::support::wait::{SOON, until};

/// Two nodes that know each other and share one session.
pub(crate) struct Pair {
    pub(crate) victim: Node,
    pub(crate) bystander: Node,
    /// The session they share.
    pub(crate) session: SessionId,
    /// Where the attacker of this pair comes from and claims to be; nobody listens there. No other pair's
    /// attacker has this address, so that a log line names its pair.
    pub(crate) attacker: SocketAddr,
    round: i32,
}

/// A node with one web application.
pub(crate) struct Node {
    pub(crate) cluster: Cluster,
    pub(crate) manager: DeltaManager,
}

/// Counts the pairs of this process.
static PAIRS: AtomicU8 = AtomicU8::new(1);

impl Pair {
    /// The victim as `configure` wants it, and a bystander.
    pub(crate) fn start(
        name: &str,
        configure: impl FnOnce(ClusterBuilder) -> ClusterBuilder,
    ) -> Self {
        Self::start_with(name, configure, DeltaManagerConfig::default())
    }

    /// The same with a victim whose manager is configured, too.
    pub(crate) fn start_with(
        name: &str,
        configure: impl FnOnce(ClusterBuilder) -> ClusterBuilder,
        manager: DeltaManagerConfig,
    ) -> Self {
        log::keep();
        let victim = Node::start(name, 11, configure, manager);
        let bystander = Node::start(name, 12, |builder| builder, DeltaManagerConfig::default());
        until("two members", SOON, || victim.sees(&bystander));
        until("two members", SOON, || bystander.sees(&victim));
        let session = victim.manager.create_session().expect("a session");
        victim.manager.request_completed(&session).expect("sent");
        let mut pair = Self {
            victim,
            bystander,
            session,
            attacker: ([127, 0, 66, PAIRS.fetch_add(1, Ordering::Relaxed)], 4000).into(),
            round: 0,
        };
        pair.unharmed();
        pair
    }

    /// The victim still knows exactly the bystander, holds exactly the shared session as it was, and
    /// changes travel both ways.
    pub(crate) fn unharmed(&mut self) {
        let Self {
            victim,
            bystander,
            session,
            round,
            ..
        } = self;
        for (from, to) in [(&*victim, &*bystander), (bystander, victim)] {
            from.sees(to).expect("its members as before");
            assert_eq!(
                from.manager.session_ids(),
                std::slice::from_ref(session),
                "its sessions as before"
            );
            assert_eq!(
                from.value("k", session),
                to.value("k", session),
                "its values as before"
            );
            *round += 1;
            assert!(from.manager.access(session), "the session lives");
            from.manager
                .set_attribute(session, "k", *round)
                .expect("set");
            from.manager.request_completed(session).expect("sent");
            from.manager.end_access(session);
            until("the change is there", SOON, || {
                match to.value("k", session) {
                    Some(value) if value == JavaBytes::from(*round) => Ok(()),
                    other => Err(other),
                }
            });
        }
    }

    /// A connection to the victim's receiver.
    pub(crate) fn connect(&self) -> TcpStream {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let from = SocketAddr::new(self.attacker.ip(), 0);
        socket.bind(&from.into()).expect("the attacker's address");
        socket
            .connect(&self.victim.receiver().into())
            .expect("the receiver listens");
        socket.into()
    }

    /// Heartbeats of the attacker leave here.
    pub(crate) fn datagrams(&self) -> UdpSocket {
        let socket = UdpSocket::bind((self.attacker.ip(), 0)).expect("a UDP socket");
        socket.set_multicast_ttl_v4(0).expect("a TTL");
        socket
    }

    /// The lines logged about this pair's attacker.
    pub(crate) fn logged(&self) -> Vec<String> {
        log::with(&format!("{}:", self.attacker.ip()))
    }

    /// Sends `bytes` on a connection of their own; whether the victim ended it.
    pub(crate) fn attack(&self, bytes: &[u8]) -> bool {
        let mut stream = self.connect();
        // The victim may end it before everything is written.
        let _ = stream.write_all(bytes);
        ended(&mut stream)
    }

    /// Sends `bytes` on a connection of their own and leaves.
    pub(crate) fn attack_and_leave(&self, bytes: &[u8]) {
        let mut stream = self.connect();
        stream.write_all(bytes).expect("sent");
    }

    /// A counter of the victim.
    pub(crate) fn count(&self, counter: fn(&ChannelStats) -> u64) -> u64 {
        counter(&self.victim.cluster.stats())
    }
}

impl Node {
    fn start(
        name: &str,
        host: u8,
        configure: impl FnOnce(ClusterBuilder) -> ClusterBuilder,
        manager: DeltaManagerConfig,
    ) -> Self {
        let builder = Cluster::builder()
            .receiver_address([127, 0, 0, host])
            .auto_bind(1)
            .multicast_ttl(0)
            .jvm_route(format!("n{host}"))
            .state_dir(installed::scratch().join(name));
        let cluster = configure(builder).start().expect("a node");
        let manager = cluster.delta_manager_with("/", manager).expect("a manager");
        manager.wait_ready(SOON).expect("a state, or nobody to ask");
        Self { cluster, manager }
    }

    /// Its receiver.
    pub(crate) fn receiver(&self) -> SocketAddr {
        self.cluster.receiver_address()
    }

    /// Whether `other` is its only member.
    fn sees(&self, other: &Self) -> Result<(), Vec<String>> {
        let members = self.cluster.members();
        match members.as_slice() {
            [one] if one.socket_addr() == Some(other.receiver()) => Ok(()),
            _ => Err(members
                .iter()
                .map(|member| member.name().to_string())
                .collect()),
        }
    }

    fn value(&self, name: &str, session: &SessionId) -> Option<JavaBytes> {
        self.manager.attribute(session, name)
    }
}

/// Whether the other side has ended the connection, within a bounded wait.
pub(crate) fn ended(stream: &mut TcpStream) -> bool {
    stream
        .set_read_timeout(Some(Duration::from_secs(2)))
        .expect("a timeout");
    let mut buffer = [0; 4096];
    loop {
        match stream.read(&mut buffer) {
            Ok(0) => return true,
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return false,
            Err(_) => return true,
        }
    }
}
