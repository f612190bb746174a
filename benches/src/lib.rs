//! Measurements against Tribes and the wire.
