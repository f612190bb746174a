//! The two kinds of session managers, to commands the same.

use crate::channel::{SendError, UniqueId};
use crate::cluster::ExpiryCause;
use crate::java::{JavaBytes, JavaString, ValueRef};
use crate::map::Access;
use crate::session::{Action, BackupManager, Cx, DeltaManager, Out, SessionError, SessionId};

/// A session manager of either kind.
pub(crate) enum Managed<'a> {
    Delta(&'a mut DeltaManager),
    Backup(&'a mut BackupManager),
}

macro_rules! either {
    ($managed:expr, $manager:ident => $call:expr) => {
        match $managed {
            Managed::Delta($manager) => $call,
            Managed::Backup($manager) => $call,
        }
    };
}

impl Managed<'_> {
    pub(crate) fn create(
        self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        either!(self, manager => manager.create(cx, out, id))
    }

    pub(crate) fn access(self, cx: &mut Cx<'_>, out: &mut Out<'_>, id: &SessionId) -> Access {
        match self {
            Self::Delta(manager) => match manager.access(cx, out, id) {
                true => Access::Here,
                false => Access::Absent,
            },
            Self::Backup(manager) => manager.access(cx, out, id),
        }
    }

    pub(crate) fn end_access(self, cx: &mut Cx<'_>, id: &SessionId) {
        either!(self, manager => manager.end_access(cx, id));
    }

    pub(crate) fn set_attribute(
        self,
        cx: &mut Cx<'_>,
        id: &SessionId,
        name: JavaString,
        value: Option<JavaBytes>,
    ) -> Result<Option<JavaBytes>, SessionError> {
        either!(self, manager => manager.set_attribute(cx, id, name, value))
    }

    pub(crate) fn write_attribute(
        self,
        cx: &mut Cx<'_>,
        id: &SessionId,
        name: &str,
        value: ValueRef<'_>,
    ) -> Result<bool, SessionError> {
        match self {
            Self::Delta(manager) => manager.write_attribute(cx, id, name, value),
            Self::Backup(manager) => {
                let mut new = JavaBytes::NULL;
                value.write_to(&mut new);
                let removes = new.is_null();
                let before = manager.set_attribute(cx, id, name.into(), Some(new))?;
                Ok(!removes || before.is_some())
            }
        }
    }

    pub(crate) fn change(self, id: &SessionId, action: Action) -> Result<(), SessionError> {
        either!(self, manager => manager.change(id, action))
    }

    pub(crate) fn change_id(
        self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        old: &SessionId,
        new: Option<&SessionId>,
    ) -> Result<SessionId, SessionError> {
        either!(self, manager => manager.change_id(cx, out, old, new))
    }

    pub(crate) fn request_completed(
        self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
    ) -> Result<Option<UniqueId>, SendError> {
        either!(self, manager => manager.request_completed(cx, out, id))
    }

    /// Ends a session here and everywhere, unless its time is over already.
    pub(crate) fn invalidate(
        self,
        cx: &mut Cx<'_>,
        out: &mut Out<'_>,
        id: &SessionId,
    ) -> Option<Option<UniqueId>> {
        either!(self, manager => {
            if !manager.check_valid(cx, out, id) {
                return None;
            }
            manager.expire(cx, out, id, ExpiryCause::Invalidated, true)
        })
    }

    pub(crate) fn expire_all_local(self, cx: &mut Cx<'_>, out: &mut Out<'_>) -> usize {
        either!(self, manager => manager.expire_all_local(cx, out))
    }

    pub(crate) fn process_expires(self, cx: &mut Cx<'_>, out: &mut Out<'_>) -> usize {
        either!(self, manager => manager.process_expires(cx, out))
    }
}
