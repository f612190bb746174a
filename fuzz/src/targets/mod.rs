//! The formats and machines of `folkmoot-core`.

pub mod fixed;
pub mod interceptor;
pub mod java;
pub mod machine;
pub mod map;
pub mod session;
pub mod wire;

/// A target: its name, which is that of its folder in `corpus` and `regressions`, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("frame", wire::frame),
    ("channel_data", wire::channel_data),
    ("member", wire::member),
    ("datagram", wire::datagram),
    ("send_options", wire::send_options),
    ("unique_id", wire::unique_id),
    ("java_stream", java::java_stream),
    ("session_message", session::session_message),
    ("delta_request", session::delta_request),
    ("delta_session", session::delta_session),
    ("session_state", session::session_state),
    ("new_session_id", session::new_session_id),
    ("reconcile", session::reconcile),
    ("gzip", interceptor::gzip),
    ("encrypted", interceptor::encrypted),
    ("fragment", interceptor::fragment),
    ("layers", interceptor::layers),
    ("rpc_message", map::rpc_message),
    ("map_message", map::map_message),
    ("channel", machine::channel),
    ("cluster", machine::cluster),
    ("fixed", fixed::fixed),
];
