//! The machines against simple models of them: random walks (`proptest-state-machine`) and, in a small scope, every
//! interleaving there is (`stateright`).
#![cfg(feature = "alloc")]

mod delta_request;
mod explore;
mod membership;
mod net;
mod oracle;
mod scope;
