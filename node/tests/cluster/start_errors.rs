//! What cannot work is said with what would.

use std::net::{IpAddr, Ipv4Addr, TcpListener};
use std::time::Duration;

use folkmoot::{Cluster, ClusterBuilder, ContextError, DeltaManagerConfig, StaticMember, UniqueId};

use crate::support::address;

fn alone() -> ClusterBuilder {
    Cluster::builder().no_membership().receiver_port(0)
}

fn remote(address: &str) -> StaticMember {
    StaticMember::new(address.parse().unwrap(), UniqueId([1; 16]))
}

#[test]
fn a_configuration_that_cannot_work_says_what_to_change() {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    #[rustfmt::skip]
    let cases: Vec<(&str, ClusterBuilder, &[&str])> = vec![
        ("option 4 without 2", alone().channel_send_options(4), &["channel_send_options 4", "use 6"]),
        ("unknown option", alone().channel_send_options("fast"), &["\"fast\"", "asynchronous"]),
        ("option 32", alone().channel_send_options("udp,async"), &["TCP only", "32"]),
        ("domain", alone().domain("caf\u{3b1}"), &["domain", "ISO-8859-1"]),
        ("domain in braces", alone().domain("{1,2"), &["domain", "{1,2,3}"]),
        ("route", alone().jvm_route("n 1"), &["jvm_route \"n 1\"", "letters"]),
        ("host", alone().host_name(""), &["host_name", "localhost"]),
        ("host with #", alone().host_name("a#b"), &["host_name", "without `#`"]),
        ("background", alone().background_processor_delay(Duration::ZERO), &["background_processor_delay", "1 ms"]),
        ("events", alone().events_max(0), &["events_max", "1 to"]),
        ("drop time", Cluster::builder().receiver_address(loopback).multicast_ttl(0)
            .drop_time(Duration::from_millis(600)), &["drop_time", "frequency"]),
        ("no multicast address", Cluster::builder().receiver_address(loopback).receiver_port(0).multicast_ttl(0)
            .multicast(Ipv4Addr::new(10, 0, 0, 1), 45564), &["10.0.0.1", "228.0.0.4"]),
        ("multicast through a foreign interface", Cluster::builder().receiver_address(loopback).receiver_port(0)
            .multicast_ttl(0).multicast_bind(Ipv4Addr::new(192, 0, 2, 1)),
            &["multicast is not possible", "192.0.2.1", "list the members statically"]),
        ("foreign address", alone().receiver_address(Ipv4Addr::new(192, 0, 2, 1)), &["192.0.2.1", "not an address of this host"]),
        ("every address", alone().receiver_address(Ipv4Addr::UNSPECIFIED), &["0.0.0.0", "address of this host"]),
        ("loopback to remote members", Cluster::builder().receiver_port(0).receiver_address(loopback)
            .static_members([remote("192.0.2.7:4000")]), &["127.0.0.1", "192.0.2.7:4000", "set receiver_address"]),
        ("IPv6 members", Cluster::builder().receiver_port(0).receiver_address(loopback)
            .static_members([remote("[2001:db8::7]:4000")]), &["[2001:db8::7]:4000", "IP versions"]),
        ("a member twice", Cluster::builder().receiver_port(0).receiver_address(loopback)
            .static_members([remote("127.0.0.2:4000"), remote("127.0.0.2:4000")]), &["static member 1", "once"]),
        ("state directory", Cluster::builder().no_membership().receiver_address(address()).state_dir("/dev/null/x"),
            &["/dev/null/x", "state_dir"]),
    ];
    for (what, builder, advice) in cases {
        let error = builder.start().map(drop).expect_err(what).to_string();
        for part in advice {
            assert!(error.contains(part), "{what}: {error}");
        }
    }
}

#[test]
fn a_range_of_taken_ports_is_named() {
    let ip = address();
    let _taken: Vec<TcpListener> = (4000..4003)
        .map(|port| TcpListener::bind((ip, port)).expect("free"))
        .collect();
    let start = |ports| {
        alone()
            .receiver_address(ip)
            .receiver_port(4000)
            .auto_bind(ports)
            .start()
    };
    let error = start(3).map(drop).expect_err("all taken").to_string();
    assert!(
        error.contains("from 4000 to 4002") && error.contains("raise autoBind"),
        "{error}"
    );
    let error = start(1).map(drop).expect_err("taken").to_string();
    assert!(error.contains("port 4000"), "{error}");
    assert_eq!(
        start(4).expect("4003 is free").receiver_address().port(),
        4003
    );
}

#[test]
fn loopback_towards_a_multicast_group_of_the_network_is_an_error_where_there_is_one() {
    let result = Cluster::builder()
        .receiver_address(Ipv4Addr::LOCALHOST)
        .receiver_port(0)
        .start();
    match result {
        // The group's traffic stays on this host, or there is no multicast at all.
        Ok(_) => {}
        Err(error) => {
            let error = error.to_string();
            let advice = ["set receiver_address to", "multicast is not possible"];
            assert!(advice.iter().any(|part| error.contains(part)), "{error}");
        }
    }
}

#[test]
fn a_manager_that_cannot_be_is_refused() {
    let cluster = alone().start().expect("a free port");
    let _first = cluster.delta_manager("/shop").expect("the first");
    #[rustfmt::skip]
    let cases = [
        ("/shop",   "has a manager already"),
        ("shop",    "such as /shop"),
        ("/shop/",  "without a `/` at its end"),
        ("/a#b",    "such as /shop"),
    ];
    for (path, advice) in cases {
        let error = cluster
            .delta_manager(path)
            .map(drop)
            .expect_err(path)
            .to_string();
        assert!(error.contains(advice), "{path}: {error}");
    }
    let config = DeltaManagerConfig {
        process_expires_frequency: 0,
        ..DeltaManagerConfig::default()
    };
    let error = cluster
        .delta_manager_with("/other", config)
        .map(drop)
        .expect_err("0");
    assert!(
        matches!(
            error,
            ContextError::OutOfRange("process_expires_frequency", _)
        ),
        "{error}"
    );
    cluster.shutdown_blocking();
    assert_eq!(
        cluster
            .delta_manager("/late")
            .map(drop)
            .expect_err("stopped"),
        ContextError::Stopped
    );
}
