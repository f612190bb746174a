//! A node of ours whose context `/shop` has a DeltaManager: the counterpart of `java/TomcatNode.java`.

use std::io::Read as _;
use std::time::Duration;

use folkmoot_core::channel::ChannelEvent;
use folkmoot_core::cluster::{Cluster, ClusterConfig, ClusterEvent};
use folkmoot_core::session::{DeltaManagerConfig, TransferResult};
use folkmoot_core::time::Instant;
use folkmoot_mio::Handle;
use folkmoot_uring::Driver;

use crate::{Result, local};

/// The bound of every wait.
const PATIENCE: Duration = Duration::from_secs(120);

/// Runs until standard input ends. With no sessions to create it joins, and says how long its manager took from asking
/// for the sessions to having them.
///
/// # Errors
/// No such port, or no member.
pub fn run(port: u16, other: u16, sessions: usize, size: usize) -> Result<()> {
    let (bound, channel) =
        local::channel(port, &[other], folkmoot_mio::Tuning::default(), 64 << 20)?;
    let clock = std::time::Instant::now();
    let offset = bound.now();
    let joins = sessions == 0;
    let turn = move |cluster: &mut Cluster, now: Instant| {
        while let Some(event) = cluster.poll_event() {
            match event {
                ClusterEvent::StateTransfer { context, outcome } if joins => {
                    // The engine's time is that of the last bytes' arrival: what reading them took comes on top.
                    let late = (offset + clock.elapsed()).since(now);
                    let took = (outcome.took + late).as_nanos();
                    let count = cluster
                        .manager(context)
                        .map_or(0, |manager| manager.session_count());
                    match outcome.result {
                        TransferResult::Complete => println!("TRANSFERRED {took} {count}"),
                        other => println!("FAILED {other:?}"),
                    }
                }
                ClusterEvent::Channel(ChannelEvent::BadInput { from, reason }) => {
                    eprintln!("{from}: {reason}")
                }
                ClusterEvent::Refused { .. } | ClusterEvent::StateGiven { .. } => {
                    eprintln!("{event:?}")
                }
                _ => {}
            }
        }
    };
    let engine = Cluster::new(channel, ClusterConfig::default());
    let handle = folkmoot_uring::spawn_with(bound, Driver::Auto, engine, turn, || ())?;
    let context = handle.with(|cluster, now| {
        cluster.start(now);
        cluster.register_manager(now, "/shop", DeltaManagerConfig::default())
    })?;
    for number in 0..sessions {
        handle.with(|cluster, now| {
            let id = cluster.create_session(now, context, None)?;
            let value = format!("{number:<size$}");
            cluster.set_attribute(now, context, &id, "cart", value.as_str())
        })?;
    }
    if !joins {
        let count =
            handle.inspect(|cluster| cluster.manager(context).map_or(0, |m| m.session_count()));
        println!("READY {count}");
    }
    std::io::stdin().read_to_end(&mut Vec::new())?;
    stop(&handle)
}

fn stop(handle: &Handle<Cluster>) -> Result<()> {
    let stopped = |cluster: &Cluster| cluster.channel().is_stopped();
    match handle.shutdown(PATIENCE, |cluster, now| cluster.stop(now), stopped) {
        true => Ok(()),
        false => Err("the goodbye was not completed".into()),
    }
}
