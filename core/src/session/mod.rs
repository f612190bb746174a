//! Sessions, deltas and the managers that replicate them.
