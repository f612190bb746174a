//! The member without an operating system (`core/examples/cortex_m`) in a cluster with Tomcats and Rust nodes.
//!
//! `.ci/firmware` builds it and its bridge, says where they are, and runs this.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use serde_json::{Value, json};

use crate::support::client::Client;
use crate::support::cluster::{Cluster, Membership, Setup};
use crate::support::installed;
use crate::support::probe::Kind::{self, Rust, Tomcat};
use crate::support::wait::{SOON, until};

scenarios! {
    #[ignore = "needs the firmware: run .ci/firmware"]
    fn keeps_the_sessions_for_a_fresh_tomcat(name) { play(name, [Tomcat, Rust, Tomcat], 6); }
    #[ignore = "needs the firmware: run .ci/firmware"]
    fn keeps_the_sessions_for_a_fresh_rust_node(name) { play(name, [Tomcat, Rust, Rust], 8); }
    #[ignore = "needs the firmware: run .ci/firmware"]
    fn keeps_the_sessions_among_rust_nodes(name) { play(name, [Rust, Rust, Rust], 6); }
    #[ignore = "needs the firmware: run .ci/firmware"]
    fn leaves_no_ghost_when_it_starts_again(name) { no_ghost(name); }
}

const ADDRESS: &str = "127.0.0.20:4000";

/// The firmware in QEMU, behind its bridge.
struct Firmware {
    bridge: Child,
    status: PathBuf,
    log: PathBuf,
}

impl Firmware {
    fn start(directory: &Path) -> Self {
        let path = |variable: &str| {
            std::env::var_os(variable)
                .unwrap_or_else(|| panic!("missing: {variable}; run .ci/firmware"))
        };
        let status = directory.join("firmware.status");
        let log_path = directory.join("firmware.log");
        let mut log = std::fs::File::options();
        let log = log.append(true).create(true).open(&log_path);
        let log = log.expect("a log file");
        // What an earlier one wrote down is not how this one does.
        let _ = std::fs::remove_file(&status);
        let mut command = Command::new(path("FOLKMOOT_FIRMWARE_BRIDGE"));
        command
            .arg(path("FOLKMOOT_FIRMWARE"))
            .arg(ADDRESS)
            .arg(&status)
            .stdout(log.try_clone().expect("a second handle"))
            .stderr(log);
        // SAFETY: prctl(2) is async-signal-safe; the bridge dies with the thread that started it.
        unsafe {
            command.pre_exec(
                || match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
                    0 => Ok(()),
                    _ => Err(std::io::Error::last_os_error()),
                },
            );
        }
        let bridge = command.spawn().expect("the bridge starts");
        Self {
            bridge,
            status,
            log: log_path,
        }
    }

    fn status(&self) -> BTreeMap<String, u32> {
        let text = std::fs::read_to_string(&self.status).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once('='));
        lines
            .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
            .collect()
    }

    /// The decoded lines of its log.
    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn await_number(&self, name: &str, wanted: u32) {
        until(&format!("firmware: {name} is {wanted}"), SOON, || {
            let status = self.status();
            match status.get(name) {
                Some(seen) if *seen == wanted => Ok(()),
                _ => Err(status),
            }
        });
    }
}

impl Drop for Firmware {
    fn drop(&mut self) {
        let _ = self.bridge.kill();
        let _ = self.bridge.wait();
    }
}

/// Two nodes and the firmware share sessions, the two die, and the third gets them from the only one left.
fn play(name: &str, kinds: [Kind; 3], options: u32) {
    let setup = Setup::new(Membership::Multicast, options);
    let mut cluster = Cluster::new(name, &kinds, &setup);
    let directory = installed::scratch().join(name);
    cluster.nodes[0].start();
    cluster.nodes[1].start();

    // It joins, and both see it.
    let firmware = Firmware::start(&directory);
    firmware.await_number("members", 2);
    firmware.await_number("ready", 1);
    cluster.await_other_members(0, &["127.0.0.12:4000", ADDRESS]);
    cluster.await_other_members(1, &["127.0.0.11:4000", ADDRESS]);

    // Sessions made on either node are here too.
    let mut ids = Vec::new();
    for node in [0, 1, 0, 1] {
        let mut visitor = Client::new();
        let text = format!("made on {node}");
        let set = visitor.get(
            cluster.http(node),
            &format!("/s/set?k=a&type=string&v={}", text.replace(' ', "%20")),
        );
        ids.push((
            set.id().to_owned(),
            json!({ "a": { "type": "java.lang.String", "value": text } }),
        ));
    }
    firmware.await_number("sessions", 4);
    let before = firmware.status();
    assert!(before["received"] >= 8, "{before:?}");
    if options == 6 {
        assert!(before["acks"] >= 8, "{before:?}");
    }

    // All others die; the firmware has what they had.
    cluster.nodes[0].crash();
    cluster.nodes[1].crash();
    firmware.await_number("members", 0);
    firmware.await_number("sessions", 4);

    // A fresh one asks the only member left.
    cluster.nodes[2].start();
    cluster.await_other_members(2, &[ADDRESS]);
    let mut wanted: Vec<String> = ids.iter().map(|(id, _)| id.clone()).collect();
    wanted.sort();
    assert_eq!(cluster.nodes[2].session_ids(), wanted);
    for (id, attributes) in &ids {
        let seen: Value = cluster.nodes[2].attributes(id);
        assert_eq!(&seen, attributes, "{id}");
    }
    firmware.await_number("members", 1);

    // What it logged was decoded, with levels.
    let log = firmware.log();
    for line in [
        "INFO started as",
        "INFO MemberAdded",
        "INFO StateTransfer(",
        "INFO StateGiven",
    ] {
        assert!(log.contains(line), "no {line:?} in the log:\n{log}");
    }
    assert!(!log.contains("cannot be decoded"), "{log}");
    println!("{name}: {:?}", firmware.status());
}

/// Its machine is reset: the Tomcat lists it once, as what it is now.
fn no_ghost(name: &str) {
    let setup = Setup::new(Membership::Multicast, 8);
    let mut cluster = Cluster::new(name, &[Tomcat, Rust], &setup);
    let directory = installed::scratch().join(name);
    cluster.nodes[0].start();
    cluster.nodes[1].start();
    let mut firmware = Firmware::start(&directory);
    for round in 1..=3 {
        cluster.await_other_members(0, &["127.0.0.12:4000", ADDRESS]);
        drop(firmware);
        firmware = Firmware::start(&directory);
        firmware.await_number("members", 2);
        firmware.await_number("ready", 1);
        let mut visitor = Client::new();
        visitor.get(cluster.http(0), "/s/set?k=a&type=string&v=b");
        firmware.await_number("sessions", round);
        cluster.await_other_members(0, &["127.0.0.12:4000", ADDRESS]);
    }
}
