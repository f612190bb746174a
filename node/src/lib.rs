//! HTTP session replication for Rust servers, compatible with Apache Tomcat clusters.
