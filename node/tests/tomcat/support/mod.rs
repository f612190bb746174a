//! What every scenario stands on: a network of its own, probes of both kinds, a client.

pub(crate) mod client;
pub(crate) mod cluster;
pub(crate) mod crowd;
pub(crate) mod installed;
pub(crate) mod namespace;
pub(crate) mod probe;
pub(crate) mod recorder;
pub(crate) mod session_message;
pub(crate) mod value_types;
pub(crate) mod wait;

/// Tests that each run in a network namespace of their own. The body gets the test's name, which
/// is also the directory of its logs.
macro_rules! scenarios {
    ($($(#[$attribute:meta])* fn $name:ident($directory:ident) $body:block)*) => {
        $(
            $(#[$attribute])*
            #[test]
            fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                let name = name.split_once("::").map_or(name, |(_, rest)| rest);
                crate::support::namespace::run(name, move || {
                    let $directory: &str = name;
                    $body
                });
            }
        )*
    };
}
