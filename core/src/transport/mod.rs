//! Connections: the receiving end with its ACKs, and the sending end with its lanes.
