//! `SimpleTcpCluster`: a channel whose listener is the session managers.
