//! Static members. `StaticMembershipInterceptor`.

use alloc::vec::Vec;
use core::net::SocketAddr;

use crate::wire::{Member, UniqueId};

/// A member that the configuration names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StaticMember {
    /// Its receiver.
    pub address: SocketAddr,
    /// The unique id that it and everybody else has configured; Tomcat's default is sixteen zero bytes.
    pub unique_id: UniqueId,
    /// −1 for none.
    pub secure_port: i32,
    /// −1 for none.
    pub udp_port: i32,
    /// Its domain.
    pub domain: Vec<u8>,
    /// Its payload.
    pub payload: Vec<u8>,
}

impl StaticMember {
    /// A member without domain and payload.
    pub const fn new(address: SocketAddr, unique_id: UniqueId) -> Self {
        Self {
            address,
            unique_id,
            secure_port: -1,
            udp_port: -1,
            domain: Vec::new(),
            payload: Vec::new(),
        }
    }
}

impl From<&StaticMember> for Member {
    fn from(fixed: &StaticMember) -> Self {
        let mut member = Self::new(fixed.address, fixed.unique_id);
        member.secure_port = fixed.secure_port;
        member.udp_port = fixed.udp_port;
        member.domain = fixed.domain.clone();
        member.payload = fixed.payload.clone();
        member
    }
}
