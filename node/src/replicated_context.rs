//! The attributes of one web application, as programs hold them.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use folkmoot_core::cluster::{ContextId, ReplicatedContextConfig};
use folkmoot_core::java::JavaBytes;
use folkmoot_core::map::MapState;
use folkmoot_core::wire::{AckPolicy, UniqueId};

use crate::cluster::{Cluster, Engine};
use crate::delivery::Delivery;
use crate::error::ContextError;
use crate::notices::Context;

/// The attributes of one web application, the same on every member that runs it (`ReplicatedContext`). Clones are handles to
/// the same ones.
#[derive(Clone)]
pub struct ReplicatedContext {
    cluster: Cluster,
    id: ContextId,
    context: Arc<Context>,
    ack_policy: AckPolicy,
}

impl ReplicatedContext {
    pub(crate) fn register(
        cluster: &Cluster,
        path: &str,
        config: ReplicatedContextConfig,
    ) -> Result<Self, ContextError> {
        let inner = &cluster.inner;
        let (id, context) = inner.handle.with(|engine, now| {
            let id = engine
                .register_context(now, path, config)
                .map_err(|error| ContextError::from_core(error, path))?;
            Ok((id, inner.notices.open(id, path)))
        })?;
        Ok(Self {
            cluster: cluster.clone(),
            id,
            context,
            ack_policy: config.map_send_options.ack_policy(),
        })
    }

    /// The context path: `""` for the root context, else `/…`.
    pub fn context_path(&self) -> &str {
        &self.context.path
    }

    /// Waits until the attributes that the cluster had are here; `false` if it was shut down before.
    pub async fn ready(&self) -> bool {
        let mut started = self.context.transfer.subscribe();
        let started = started.wait_for(Option::is_some).await.is_ok();
        started && !self.cluster.is_stopped()
    }

    /// As [`ready`](Self::ready), for threads; also `false` if it takes longer than `limit`.
    pub fn wait_ready(&self, limit: Duration) -> bool {
        let ready = |engine: &mut Engine, _| {
            let state = engine.context(self.id)?.state();
            (state == MapState::Initialized).then_some(())
        };
        self.cluster.inner.handle.wait_for(limit, ready).is_some()
    }

    /// An attribute's value.
    pub fn attribute(&self, name: &str) -> Option<JavaBytes> {
        self.cluster
            .inner
            .handle
            .inspect(|engine| engine.context(self.id)?.attribute(name).cloned())
    }

    /// The names of all attributes, sorted.
    pub fn attribute_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.cluster.inner.handle.inspect(|engine| {
            let context = engine.context(self.id);
            let names = context
                .into_iter()
                .flat_map(|context| context.attribute_names());
            names
                .map(|name| name.to_string_lossy().into_owned())
                .collect()
        });
        names.sort();
        names
    }

    /// Sets an attribute on all members; null removes it. A delivery if there are others and `map_send_options` ask for
    /// acknowledgements.
    pub fn set_attribute(&self, name: &str, value: impl Into<JavaBytes>) -> Option<Delivery> {
        let value = value.into();
        self.command(|engine, now| engine.set_context_attribute(now, self.id, name, value))
    }

    /// Removes an attribute on all members.
    pub fn remove_attribute(&self, name: &str) -> Option<Delivery> {
        self.command(|engine, now| engine.remove_context_attribute(now, self.id, name))
    }

    fn command(
        &self,
        command: impl FnOnce(&mut Engine, folkmoot_core::time::Instant) -> Option<UniqueId>,
    ) -> Option<Delivery> {
        let inner = &self.cluster.inner;
        inner.handle.with(|engine, now| {
            let sent = command(engine, now).filter(|_| self.ack_policy != AckPolicy::Never);
            sent.map(|id| inner.expect(id))
        })
    }
}

impl fmt::Debug for ReplicatedContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplicatedContext")
            .field("context_path", &self.context_path())
            .finish_non_exhaustive()
    }
}
