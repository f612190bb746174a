//! A channel of ours on the loopback interface with static members.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{SystemTime, UNIX_EPOCH};

use folkmoot_core::channel::{
    Channel, ChannelConfig, MembershipConfig, StaticConfig, StaticMember, UniqueId,
};
use folkmoot_mio::{Bound, Config, Tuning, bind};

use crate::Result;

/// The unique id of the node at `port`, as the Java programs make it.
pub fn unique_id(port: u16) -> UniqueId {
    let mut id = [1; 16];
    id[14..].copy_from_slice(&port.to_be_bytes());
    UniqueId(id)
}

/// Sockets at `port` and a channel whose other members are at `others`; at most `queue` bytes wait
/// for each.
///
/// # Errors
/// The port is in use.
pub fn channel(
    port: u16,
    others: &[u16],
    tuning: Tuning,
    queue: usize,
) -> Result<(Bound, Channel)> {
    let local = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let mut sockets = Config::new(local);
    sockets.receiver.port = port;
    sockets.receiver.auto_bind = 1;
    sockets.tuning = tuning;
    let bound = bind(sockets)?;
    let mut config = ChannelConfig::new(bound.receiver_addr());
    config.unique_id = Some(unique_id(port));
    let member = |port: &u16| StaticMember::new(SocketAddr::new(local, *port), unique_id(*port));
    config.membership = MembershipConfig::Static(StaticConfig {
        members: others.iter().map(member).collect(),
        ..StaticConfig::default()
    });
    config.limits.queue_bytes_max = queue;
    let unix_ms = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&u64::try_from(unix_ms)?.to_be_bytes());
    seed[8..10].copy_from_slice(&port.to_be_bytes());
    let channel = Channel::new(config, seed, bound.now(), u64::try_from(unix_ms)?)?;
    Ok((bound, channel))
}
