//! The formats of Tribes on the wire: no state, no allocation to read them.
