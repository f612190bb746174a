//! Those in a cluster that are not ours: Tomcats as they behave, and somebody who means no good.
//!
//! They speak the same wire formats and nothing else of them is ours.

mod hostile;
mod hostile_map;
mod tomcat;
mod tomcat_map;
mod tomcat_sessions;
mod wires;

pub(crate) use hostile::Hostile;
pub(crate) use tomcat::{Above, Habits, Tomcat, block_of};
pub(crate) use tomcat_map::{Backups, SharedMapShelf};
pub(crate) use tomcat_sessions::{ATTRIBUTE, PATIENCE, Sessions, SharedShelf};
