//! A cluster of probes on one loopback interface.

use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use super::installed;
use super::probe::{Kind, Probe};
use super::wait::{SOON, until};

/// How the nodes find each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Membership {
    /// `McastService`.
    Multicast,
    /// `StaticMembershipInterceptor` with `TcpPingInterceptor`.
    Static,
    /// `StaticMembershipService`.
    StaticService,
}

/// The settings that all nodes of a cluster share.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) membership: Membership,
    /// `channelSendOptions`.
    pub(crate) options: u32,
    /// More environment variables, for every node.
    pub(crate) more: Vec<(&'static str, &'static str)>,
    /// And for the node of an index.
    pub(crate) only: Vec<(usize, &'static str, &'static str)>,
}

impl Setup {
    pub(crate) fn new(membership: Membership, options: u32) -> Self {
        Self {
            membership,
            options,
            more: Vec::new(),
            only: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, variable: &'static str, value: &'static str) -> Self {
        self.more.push((variable, value));
        self
    }

    pub(crate) fn on(mut self, node: usize, variable: &'static str, value: &'static str) -> Self {
        self.only.push((node, variable, value));
        self
    }
}

/// Nodes by index: node 0 is `n1` with receiver 127.0.0.11:4000 and HTTP on port 8080.
pub(crate) struct Cluster {
    pub(crate) nodes: Vec<Probe>,
}

impl Cluster {
    /// Nothing runs yet. `name` is the directory of its logs.
    pub(crate) fn new(name: &str, kinds: &[Kind], setup: &Setup) -> Self {
        let directory = installed::scratch().join(name);
        let _ = std::fs::remove_dir_all(&directory);
        let nodes = (1..=kinds.len())
            .zip(kinds)
            .map(|(node, &kind)| node_of(node, kind, kinds.len(), setup, &directory))
            .collect();
        Self { nodes }
    }

    /// A cluster with all nodes started, one after the other, who know each other.
    pub(crate) fn started(name: &str, kinds: &[Kind], setup: &Setup) -> Self {
        let mut cluster = Self::new(name, kinds, setup);
        for node in 0..kinds.len() {
            cluster.nodes[node].start();
        }
        cluster.await_members();
        cluster
    }

    /// The HTTP address of a node.
    pub(crate) fn http(&self, node: usize) -> SocketAddr {
        self.nodes[node].http
    }

    /// Indexes of the nodes that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.nodes.len()).filter(|&node| self.nodes[node].is_running())
    }

    /// Waits until every running node sees exactly the other running ones, each once.
    pub(crate) fn await_members(&self) {
        for node in self.running() {
            let mut others: Vec<String> = self
                .running()
                .filter(|&other| other != node)
                .map(receiver)
                .collect();
            others.sort();
            let what = format!("members of {} are {others:?}", self.nodes[node].name);
            until(&what, SOON, || equal(self.nodes[node].members(), &others));
        }
    }

    /// Waits until a node sees exactly these members, whoever they are.
    pub(crate) fn await_other_members(&self, node: usize, members: &[&str]) {
        let what = format!("members of {} are {members:?}", self.nodes[node].name);
        let members: Vec<String> = members.iter().map(|member| (*member).to_owned()).collect();
        until(&what, SOON, || equal(self.nodes[node].members(), &members));
    }

    /// Waits until `holds` says `Ok` of every running node.
    pub(crate) fn on_every_node<E: std::fmt::Debug>(
        &self,
        what: &str,
        mut holds: impl FnMut(&Probe) -> Result<(), E>,
    ) {
        for node in self.running() {
            let node = &self.nodes[node];
            until(
                &format!("{} ({:?}): {what}", node.name, node.kind),
                SOON,
                || holds(node),
            );
        }
    }

    /// Waits until every running node holds the session with exactly these attributes.
    pub(crate) fn await_attributes(&self, id: &str, attributes: &Value) {
        self.on_every_node(&format!("attributes of {id} are {attributes}"), |node| {
            equal(node.attributes(id), attributes)
        });
    }

    /// Waits until no running node holds the session.
    pub(crate) fn await_gone(&self, id: &str) {
        self.on_every_node(&format!("{id} is gone"), |node| match node.peek(id) {
            None => Ok(()),
            Some(session) => Err(session.json),
        });
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for node in &self.nodes {
                println!(
                    "--- log of {} ({:?}), its end:\n{}",
                    node.name,
                    node.kind,
                    node.log_tail()
                );
            }
        }
    }
}

/// The receiver of a node, as members lists name it.
pub(crate) fn receiver(node: usize) -> String {
    format!("127.0.0.{}:4000", 11 + node)
}

fn node_of(node: usize, kind: Kind, nodes: usize, setup: &Setup, directory: &Path) -> Probe {
    let unique_id = |node: usize| format!("0a0b0c0d0e0f101112131415161700{node:02}");
    let others: Vec<String> = (1..=nodes)
        .filter(|&other| other != node)
        .map(|other| format!("{}:{}", receiver(other - 1), unique_id(other)))
        .collect();
    let mut environment = vec![
        ("PROBE_NODE".to_owned(), node.to_string()),
        ("PROBE_NODES".to_owned(), nodes.to_string()),
        (
            "PROBE_CLUSTER_HOST".to_owned(),
            format!("127.0.0.{}", 10 + node),
        ),
        ("PROBE_CLUSTER_PORT".to_owned(), "4000".to_owned()),
        ("PROBE_SEND_OPTIONS".to_owned(), setup.options.to_string()),
    ];
    let mut set = |variable: &str, value: &str| environment.push((variable.into(), value.into()));
    match setup.membership {
        Membership::Multicast => {
            set("PROBE_MEMBERSHIP", "mcast");
            set("PROBE_MCAST_BIND", "127.0.0.1");
        }
        Membership::Static => {
            set("PROBE_MEMBERSHIP", "static");
            set("PROBE_UNIQUE_ID", &unique_id(node));
            set("PROBE_STATIC_MEMBERS", &others.join(","));
        }
        Membership::StaticService => {
            set("PROBE_MEMBERSHIP", "static-svc");
            set("PROBE_UNIQUE_ID", &unique_id(node));
            set("PROBE_STATIC_MEMBERS", &others.join(","));
        }
    }
    let here = setup.only.iter().filter(|(index, ..)| index + 1 == node);
    let here = here.map(|(_, variable, value)| (variable, value));
    for (variable, value) in setup.more.iter().map(|(a, b)| (a, b)).chain(here) {
        set(variable, value);
    }
    let http = SocketAddr::from((
        [127, 0, 0, u8::try_from(10 + node).expect("few nodes")],
        8080,
    ));
    Probe::new(kind, &format!("n{node}"), http, directory, environment)
}

/// `Ok` if both are equal, else what was seen.
pub(crate) fn equal<T: PartialEq>(seen: T, expected: &T) -> Result<(), T> {
    if &seen == expected { Ok(()) } else { Err(seen) }
}
