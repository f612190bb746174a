//! The group communication layer.

mod framing;
mod members;
mod messages;
mod options;

use super::{Checked, File, Outcome};

/// What each file holds.
pub(crate) const FILES: &[File] = &[
    (
        "members",
        &[
            ("member-java-serialized", members::java_serialized),
            ("staticmember-java-serialized", members::java_serialized),
            ("member-", members::block),
            ("absolute-order", members::absolute_order),
        ],
    ),
    (
        "framing",
        &[
            ("ack-", framing::ack),
            ("fail-ack-", framing::fail_ack),
            ("stream-", framing::stream),
            ("split-", framing::split),
        ],
    ),
    (
        "channeldata",
        &[
            ("options-", messages::framed),
            ("size-", messages::framed),
            ("uid-", messages::framed),
            ("no-address", messages::without_address),
        ],
    ),
    (
        "heartbeat",
        &[
            ("heartbeat-", members::heartbeat),
            ("shutdown-", members::shutdown),
            ("multicast-broadcast", messages::broadcast),
        ],
    ),
    ("options", &[("parse-", options::parse)]),
];

const OK: Checked = Ok(Outcome::Checked);
