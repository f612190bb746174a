//! Sessions, deltas and the managers that replicate them.
//!
//! Formats first: [`SessionMessage`] with its payloads [`DeltaRequest`], [`SessionRecord`] and [`StateReader`]. Then
//! [`DeltaManager`], one a web application, which keeps the sessions the same on every member; it is reached
//! through a [`Cluster`](crate::cluster::Cluster).

mod commands;
mod config;
mod delta_manager;
mod delta_request;
mod delta_session;
mod departed;
mod donor;
mod error;
mod event_type;
mod expiry;
mod fields;
mod filter;
mod held;
mod id;
mod message;
mod outcome;
mod receive;
mod reconcile;
mod record;
mod send;
mod stamp;
mod state;
mod stats;
mod stream_value;
mod table;
mod transfer;

pub use config::{DeltaManagerConfig, ManagerConfigError, ManagerLimits};
pub use delta_manager::DeltaManager;
pub(crate) use delta_manager::manager_name;
pub use delta_request::{
    Action, ActionType, DeltaRequest, read_new_session_id, write_new_session_id,
};
pub use delta_session::DeltaSession;
pub use error::SessionError;
pub use event_type::{EventCounters, EventType};
pub use filter::NameFilter;
pub use id::SessionId;
pub use message::{MessageError, SessionMessage, Sharing};
pub use outcome::{ManagerState, TransferOutcome, TransferResult};
pub(crate) use receive::Source;
pub use reconcile::{
    Cursor, Ended, EndedHow, Known, KnownField, RECONCILE_MAGIC, ReconcileBody, ReconcileMessage,
    Stage, Told, ToldField, ToldSession, ToldValue,
};
pub(crate) use reconcile::{SOON, Wanted};
pub use record::{RecordNotes, SessionHead, SessionRecord};
pub(crate) use send::{Cx, Out};
pub use stamp::Stamp;
pub(crate) use stamp::writer;
pub use state::{StateReader, begin_state};
pub use stats::ManagerStats;
pub use stream_value::StreamValue;
pub(crate) use transfer::is_older;
