//! `GroupChannel`: members, connections and messages as one state machine.
