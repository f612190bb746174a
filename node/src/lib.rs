//! HTTP session replication for Rust servers, compatible with Apache Tomcat clusters.
//!
//! A node finds the others (Rust or Tomcat 10.1), keeps every session on all of them, and goes on with a session
//! when the node that served it is gone. To a Tomcat it is one more Tomcat with
//! `<Cluster className="org.apache.catalina.ha.tcp.SimpleTcpCluster"/>` and its `DeltaManager`.
//!
//! ```no_run
//! use axum::{Router, routing::get};
//! use folkmoot::{Cluster, Session, SessionError, SessionLayer};
//!
//! async fn visit(session: Session) -> Result<String, SessionError> {
//!     let visits: u32 = session.get("visits")?.unwrap_or(0) + 1;
//!     session.insert("visits", &visits)?;
//!     Ok(format!("visit number {visits}"))
//! }
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let cluster = Cluster::builder().jvm_route("n1").start()?;
//! let manager = cluster.delta_manager("/")?;
//! let app = Router::new().route("/", get(visit)).layer(SessionLayer::new(&manager));
//! manager.ready().await;
//! axum::serve(tokio::net::TcpListener::bind("0.0.0.0:8080").await?, app).await?;
//! # Ok(())
//! # }
//! ```
//!
//! - [`Cluster::builder`] takes Tomcat's settings under Tomcat's names; what cannot work is an error that says
//!   what to change.
//! - [`Cluster`] is the handle: members, events, messages of your own, [`shutdown`](Cluster::shutdown).
//! - [`DeltaManager`] holds the sessions of one web application, [`BackupManager`] does so with each on two nodes only;
//!   [`ReplicatedContext`] has the attributes of the application itself.
//! - [`SessionLayer`] is Tomcat's `JvmRouteBinderValve` and `ReplicationValve`, [`Session`] the extractor.
//! - [`interceptor`]: encryption, compression and the other layers that a cluster's messages may pass.
//! - [`java`] reads and writes what Java nodes put into sessions.
//!
//! # What the send options promise
//!
//! With `channel_send_options` 8, the default, a request ends without waiting; its changes are queued for every
//! member, in order, and lost only if this node dies before they have left (at once, or under load within a millisecond or two, joined with others) or if a member's queue overflows. With 6
//! the end of a request waits until every member has *applied* the change and said so, at most for the sender's
//! timeout (3 s, and once more for one retry). A member that does not answer is logged, counted and reported as
//! [`Event::NotAcknowledged`]; the response goes out all the same, as Tomcat's does.

mod active;
mod address;
mod backup_manager;
mod builder;
mod cluster;
mod delivery;
mod delta_manager;
mod error;
mod event;
mod incarnation;
mod messages;
mod notices;
mod pattern;
mod quota;
mod replicated_context;
mod request;
mod settings;
pub mod web;

pub use active::ActiveSession;
pub use backup_manager::BackupManager;
pub use builder::ClusterBuilder;
pub use cluster::{Cluster, Destination, SendError};
pub use delivery::{Delivered, Delivery};
pub use delta_manager::{DeltaManager, SessionView};
pub use error::{ConfigError, ContextError, StartError};
pub use event::{Event, Events, EventsError, StateTransfer};
pub use folkmoot_core::channel::{
    ChannelStats, ConfigError as ChannelConfigError, FailureDetectorConfig, FaultCause, Inbound,
    Limits, ReceiverConfig, SenderConfig, Verdict,
};
pub use folkmoot_core::cluster::{ClusterStats, ReplicatedContextConfig};
pub use folkmoot_core::interceptor;
pub use folkmoot_core::java;
pub use folkmoot_core::map::{EntryState, MapStats};
pub use folkmoot_core::membership::StaticMember;
pub use folkmoot_core::session::{
    BackupManagerConfig, DeltaManagerConfig, EventCounters, EventType, ManagerLimits, ManagerStats,
    NameFilter, SessionId, TransferResult,
};
pub use folkmoot_core::wire::{Member, SendOptions, UniqueId};
pub use folkmoot_mio::{BindError, DriverStats, Tuning};
pub use folkmoot_uring::{Driver, ParseDriverError};
pub use messages::{Message, Messages};
pub use pattern::{PatternError, name_filter};
pub use replicated_context::ReplicatedContext;
pub use request::SessionRequest;
pub use settings::SendOptionsSetting;
pub use web::cookie::{CookieConfig, SameSite};
pub use web::{Session, SessionError, SessionLayer, SessionLayerStats, SessionManager};
