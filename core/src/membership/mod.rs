//! Who is in the cluster: heartbeats, static members, and the probe that confirms them.
