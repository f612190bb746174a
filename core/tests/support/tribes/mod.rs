//! The group communication layer.

mod behaviour;
mod framing;
mod interceptors;
mod members;
mod messages;
mod node;
mod objects;
mod options;

use super::{Checked, File, Outcome};

/// What each file holds.
pub(crate) const FILES: &[File] = &[
    (
        "members",
        &[
            ("member-java-serialized", objects::member),
            ("staticmember-java-serialized", objects::member),
            ("member-", members::block),
            ("absolute-order", members::absolute_order),
            ("membership-order", members::membership_order),
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
    (
        "rpc",
        &[
            ("rpc-", objects::rpc),
            ("no-rpc-channel-reply", objects::no_rpc_reply),
            ("string-", objects::string),
        ],
    ),
    (
        "mapmessage",
        &[
            ("map-STATE-reply-in-rpc", objects::map_state_reply),
            ("map-", objects::map_message),
            ("static-MemberMessage-", objects::member_message),
        ],
    ),
    ("map_trace", &[("trace-", objects::trace)]),
    (
        "behaviour",
        &[
            ("receiver-ack-", behaviour::receiver_ack),
            (
                "receiver-undeserializable",
                behaviour::receiver_undeserializable,
            ),
            ("receiver-two-in-one-write", behaviour::receiver_pieces),
            ("receiver-split-writes", behaviour::receiver_pieces),
            ("receiver-garbage-then-package", behaviour::receiver_garbage),
            (
                "receiver-garbage-separate-write",
                behaviour::receiver_garbage_first,
            ),
            ("receiver-udp-", behaviour::receiver_udp),
            (
                "receiver-same-connection-",
                behaviour::receiver_same_connection,
            ),
            (
                "receiver-listener-error",
                behaviour::receiver_listener_error,
            ),
            ("sender-options-", behaviour::sender_options),
            ("sender-string-", behaviour::sender_string),
            ("sender-async", behaviour::sender_async),
        ],
    ),
];

const OK: Checked = Ok(Outcome::Checked);
