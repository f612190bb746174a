//! The group communication layer.

mod framing;
mod interceptors;
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
    (
        "interceptors",
        &[
            ("tcp-failure-probe-", interceptors::probe),
            ("tcp-ping", interceptors::ping),
            ("static-start", interceptors::static_start),
            ("static-stop", interceptors::static_stop),
            ("coordination-", interceptors::coordination),
            ("gzip", interceptors::gzip),
            ("frag-", interceptors::fragmentation),
            ("order-", interceptors::order),
            ("encrypt-", interceptors::encrypt),
            ("stack-", interceptors::stack),
            ("2pc-", interceptors::two_phase_commit),
            ("dispatch-size-drift", interceptors::dispatch_size_drift),
        ],
    ),
];

const OK: Checked = Ok(Outcome::Checked);
