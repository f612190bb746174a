//! What a map message is about, and how far a map has come.

use crate::java::{ClassRegistry, Graph, JavaBytes, Limits, Value};

macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident = $number:literal, $name:literal;)*) => {
        /// The kinds of a [`MapMessage`](super::MapMessage). `MapMessage.MSG_*`.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[cfg_attr(feature = "defmt", derive(defmt::Format))]
        pub enum MapMessageType {
            $($(#[$doc])* $variant,)*
        }

        impl MapMessageType {
            /// The kind of that number on the wire.
            pub const fn from_number(number: i32) -> Option<Self> {
                match number {
                    $($number => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its number on the wire.
            pub const fn number(self) -> i32 {
                match self {
                    $(Self::$variant => $number,)*
                }
            }

            /// Its name in Tomcat's log, without `MSG_`.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

kinds! {
    /// You have the backup of this entry: its value, or what has changed in it.
    Backup = 1, "BACKUP";
    /// What is the value of this entry? The reply carries it.
    RetrieveBackup = 2, "RETRIEVE_BACKUP";
    /// This entry exists; there are its primary and its backups.
    Proxy = 3, "PROXY";
    /// This entry is no more.
    Remove = 4, "REMOVE";
    /// What entries are there? The reply carries a list of [`Proxy`](Self::Proxy) messages.
    State = 5, "STATE";
    /// I have started; the reply says that somebody else has.
    Start = 6, "START";
    /// I have stopped.
    Stop = 7, "STOP";
    /// I am starting; the reply says that somebody else has started.
    Init = 8, "INIT";
    /// As [`Backup`](Self::Backup), to every member of a full map.
    Copy = 9, "COPY";
    /// What entries are there? The reply carries a list of [`Copy`](Self::Copy) messages, with their values.
    StateCopy = 10, "STATE_COPY";
    /// This entry was used, and has not changed.
    Access = 11, "ACCESS";
    /// This entry has another primary, or other backups.
    NotifyMapmember = 12, "NOTIFY_MAPMEMBER";
    /// How far has your map come? The reply carries a [`MapState`].
    Ping = 13, "PING";
}

/// How far a map has come. `AbstractReplicatedMap.State`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum MapState {
    /// It has been made.
    New,
    /// It knows the other nodes of the map, and they know it.
    StateTransferred,
    /// It has the entries that were there before it.
    Initialized,
    /// It has ended.
    Destroyed,
}

const STATE_CLASS: &str = "org.apache.catalina.tribes.tipis.AbstractReplicatedMap$State";

impl MapState {
    const ALL: [Self; 4] = [
        Self::New,
        Self::StateTransferred,
        Self::Initialized,
        Self::Destroyed,
    ];

    /// The constant's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::New => "NEW",
            Self::StateTransferred => "STATETRANSFERRED",
            Self::Initialized => "INITIALIZED",
            Self::Destroyed => "DESTROYED",
        }
    }

    /// The constant as a Java value.
    pub fn to_java(self) -> JavaBytes {
        Value::constant(STATE_CLASS, self.name())
            .to_java(&ClassRegistry::new())
            .unwrap_or(JavaBytes::NULL)
    }

    /// The constant that a stream holds; `None` if it holds something else.
    pub fn from_java(stream: &[u8], limits: &Limits) -> Option<Self> {
        let graph = Graph::parse(stream, limits).ok()?;
        let root = graph.root()?;
        let name = graph
            .enum_name(root)
            .filter(|_| graph.class_name(root) == STATE_CLASS)?;
        Self::ALL.into_iter().find(|state| name == state.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_names_are_those_of_the_wire() {
        for number in -1..=20 {
            let kind = MapMessageType::from_number(number);
            assert_eq!(kind.is_some(), (1..=13).contains(&number), "{number}");
            if let Some(kind) = kind {
                assert_eq!(kind.number(), number);
                assert!(!kind.name().is_empty());
            }
        }
        for state in MapState::ALL {
            let stream = state.to_java();
            let read = MapState::from_java(stream.as_bytes(), &Limits::DEFAULT);
            assert_eq!(read, Some(state));
        }
        let text = JavaBytes::from("NEW");
        assert_eq!(MapState::from_java(text.as_bytes(), &Limits::DEFAULT), None);
    }
}
