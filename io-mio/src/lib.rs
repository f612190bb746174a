//! Drives an engine over real sockets by readiness.
