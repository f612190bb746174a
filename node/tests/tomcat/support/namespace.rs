//! A network namespace for each scenario, so that clusters on the same ports and the same
//! multicast group run side by side and nothing leaves the machine.

use std::io;
use std::process::Command;

/// Says to a child that it is the re-run of one scenario as root of a user namespace.
const INNER: &str = "FOLKMOOT_TEST_USER_NAMESPACE";

/// Runs `scenario` on a thread of its own in a fresh network namespace with `lo` up, capable of
/// multicast and the route for it. Processes and threads started there stay in it.
///
/// Without the right to make one, the test named `test` is run once more, alone, as root of a
/// user namespace.
pub(crate) fn run(test: &str, scenario: impl FnOnce() + Send + 'static) {
    let outcome = std::thread::spawn(move || match enter() {
        Ok(()) => {
            scenario();
            Ok(())
        }
        Err(error) => Err(error),
    })
    .join();
    match outcome {
        Ok(Ok(())) => {}
        Ok(Err(error)) if std::env::var_os(INNER).is_none() => as_user_root(test, &error),
        Ok(Err(error)) => panic!("missing: the right to make a network namespace ({error})"),
        Err(panic) => std::panic::resume_unwind(panic),
    }
}

fn enter() -> io::Result<()> {
    // SAFETY: moves the calling thread alone to a new network namespace; no memory is involved.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } != 0 {
        return Err(io::Error::last_os_error());
    }
    ip("link set lo up multicast on");
    ip("route add 224.0.0.0/4 dev lo");
    Ok(())
}

/// From now on nothing that comes from or goes to this TCP port arrives, within the namespace that the calling thread is in.
pub(crate) fn cut(port: u16) {
    for direction in ["--dport", "--sport"] {
        iptables(&format!("-A INPUT -p tcp {direction} {port} -j DROP"));
    }
}

/// Everything arrives again.
pub(crate) fn heal() {
    iptables("-F INPUT");
}

fn iptables(words: &str) {
    let run = Command::new("iptables").args(words.split(' ')).output();
    let output =
        run.unwrap_or_else(|error| panic!("missing: `iptables`, package iptables ({error})"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "iptables {words}: {said}");
}

fn ip(words: &str) {
    let run = Command::new("ip").args(words.split(' ')).output();
    let output = run.unwrap_or_else(|error| panic!("missing: `ip`, package iproute2 ({error})"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip {words}: {said}");
}

fn as_user_root(test: &str, why: &io::Error) {
    let me = std::env::current_exe().expect("the test binary has a path");
    let run = Command::new("unshare")
        .args(["--user", "--map-root-user"])
        .arg(me)
        .args(["--exact", test, "--nocapture"])
        .env(INNER, "1")
        .output()
        .unwrap_or_else(|error| panic!("missing: `unshare`, package util-linux ({error})"));
    print!("{}", String::from_utf8_lossy(&run.stdout));
    eprint!("{}", String::from_utf8_lossy(&run.stderr));
    assert!(
        run.status.success(),
        "failed in a user namespace; without root ({why}) the scenarios need user namespaces"
    );
}
