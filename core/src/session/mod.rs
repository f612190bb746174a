//! Sessions, deltas and the managers that replicate them.
//!
//! Formats first: [`SessionMessage`] with its payloads [`DeltaRequest`], [`SessionRecord`] and [`StateReader`]. Then
//! [`DeltaManager`], one a web application, which keeps the sessions the same on every member; it is reached
//! through a [`Cluster`](crate::cluster::Cluster).

mod action_type;
#[cfg(feature = "alloc")]
mod attributes;
#[cfg(feature = "alloc")]
mod backup_config;
#[cfg(feature = "alloc")]
mod backup_manager;
#[cfg(feature = "alloc")]
mod backup_values;
#[cfg(feature = "alloc")]
mod commands;
#[cfg(feature = "alloc")]
mod config;
#[cfg(feature = "alloc")]
mod delta_manager;
#[cfg(feature = "alloc")]
mod delta_request;
#[cfg(feature = "alloc")]
mod delta_session;
#[cfg(feature = "alloc")]
mod departed;
#[cfg(feature = "alloc")]
mod donor;
#[cfg(feature = "alloc")]
mod error;
mod event_type;
#[cfg(feature = "alloc")]
mod expiry;
#[cfg(feature = "alloc")]
mod fields;
#[cfg(feature = "alloc")]
mod filter;
#[cfg(feature = "alloc")]
mod held;
#[cfg(feature = "alloc")]
mod id;
#[cfg(feature = "alloc")]
mod local;
mod message;
#[cfg(feature = "alloc")]
mod notes;
#[cfg(feature = "alloc")]
mod outcome;
#[cfg(feature = "alloc")]
mod read_delta;
#[cfg(feature = "alloc")]
mod receive;
#[cfg(feature = "alloc")]
mod reconcile;
#[cfg(feature = "alloc")]
mod record;
#[cfg(feature = "alloc")]
mod send;
#[cfg(feature = "alloc")]
mod shard;
#[cfg(feature = "alloc")]
mod stamp;
#[cfg(feature = "alloc")]
mod state;
#[cfg(feature = "alloc")]
mod stats;
#[cfg(feature = "alloc")]
mod stream_value;
#[cfg(feature = "alloc")]
mod table;
#[cfg(feature = "alloc")]
mod transfer;

pub use action_type::ActionType;
#[cfg(feature = "alloc")]
pub use backup_config::BackupManagerConfig;
#[cfg(feature = "alloc")]
pub use backup_manager::BackupManager;
#[cfg(feature = "alloc")]
pub(crate) use backup_manager::latin1;
#[cfg(feature = "alloc")]
pub use config::{DeltaManagerConfig, ManagerConfigError, ManagerLimits};
#[cfg(feature = "alloc")]
pub use delta_manager::DeltaManager;
#[cfg(feature = "alloc")]
pub(crate) use delta_manager::manager_name;
#[cfg(feature = "alloc")]
pub use delta_request::{Action, DeltaRequest, read_new_session_id, write_new_session_id};
#[cfg(feature = "alloc")]
pub use delta_session::DeltaSession;
#[cfg(feature = "alloc")]
pub use error::SessionError;
pub use event_type::{EventCounters, EventType};
#[cfg(feature = "alloc")]
pub use filter::NameFilter;
#[cfg(feature = "alloc")]
pub use id::SessionId;
#[cfg(feature = "alloc")]
pub(crate) use id::lane;
pub(crate) use message::BYTE_ARRAY;
pub use message::{MessageError, SessionMessage, Sharing};
#[cfg(feature = "alloc")]
pub use outcome::{ManagerState, TransferOutcome, TransferResult};
#[cfg(feature = "alloc")]
pub(crate) use read_delta::{ReadDelta, Spare};
#[cfg(feature = "alloc")]
pub(crate) use receive::{Ahead, DeltaAhead, DeltaOutcome, Source};
#[cfg(feature = "alloc")]
pub use reconcile::{
    Cursor, Ended, EndedHow, Known, KnownField, RECONCILE_MAGIC, ReconcileBody, ReconcileMessage,
    Stage, Told, ToldField, ToldSession, ToldValue,
};
#[cfg(feature = "alloc")]
pub(crate) use reconcile::{SOON, Wanted};
#[cfg(feature = "alloc")]
pub use record::{RecordNotes, SessionHead, SessionRecord};
#[cfg(feature = "alloc")]
pub(crate) use send::{Cx, Out};
#[cfg(feature = "alloc")]
pub(crate) use shard::Desk;
#[cfg(feature = "alloc")]
pub use stamp::Stamp;
#[cfg(feature = "alloc")]
pub(crate) use stamp::writer;
#[cfg(feature = "alloc")]
pub use state::{StateReader, begin_state};
#[cfg(feature = "alloc")]
pub use stats::ManagerStats;
#[cfg(feature = "alloc")]
pub use stream_value::StreamValue;
#[cfg(feature = "alloc")]
pub(crate) use transfer::is_older;
