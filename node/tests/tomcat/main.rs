//! Our nodes in one cluster with real Tomcat 10.1, as Debian packages it.
//!
//! Every scenario makes a network namespace of its own, starts nodes of both kinds in it (the
//! example `session_probe`, and the embedded Tomcat of `java/probe` that offers the same HTTP
//! face) and compares them node by node. Needed: the packages `libtomcat10-java`,
//! `libtomcat10-embed-java`, `openjdk-17-jdk-headless`, `iproute2`, and root or user namespaces.

#[macro_use]
mod support;

mod applications;
mod backup;
mod channel;
mod creation;
mod custom_class;
mod firmware;
mod frames;
mod interceptors;
mod joining;
mod lifecycle;
mod nine_steps;
mod partition;
mod restarts;
mod static_service;
mod transfer;
mod values;
