//! Attributes of the web application itself: on this node alone, or shared with the others.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use folkmoot::ReplicatedContext;
use folkmoot::java::JavaBytes;
use serde_json::json;

use crate::answer::{Fields, Parameters, Refusal};
use crate::values;

pub(crate) enum ContextAttributes {
    /// `StandardContext`.
    Local(Mutex<BTreeMap<String, JavaBytes>>),
    /// `ReplicatedContext`.
    Shared(ReplicatedContext),
}

impl ContextAttributes {
    fn get(&self, name: &str) -> Option<JavaBytes> {
        match self {
            Self::Local(attributes) => lock(attributes).get(name).cloned(),
            Self::Shared(context) => context.attribute(name),
        }
    }

    async fn set(&self, name: &str, value: JavaBytes) {
        match self {
            Self::Local(attributes) => {
                lock(attributes).insert(name.to_owned(), value);
            }
            Self::Shared(context) => {
                if let Some(delivery) = context.set_attribute(name, value) {
                    delivery.await;
                }
            }
        }
    }

    async fn remove(&self, name: &str) {
        match self {
            Self::Local(attributes) => {
                lock(attributes).remove(name);
            }
            Self::Shared(context) => {
                if let Some(delivery) = context.remove_attribute(name) {
                    delivery.await;
                }
            }
        }
    }

    pub(crate) async fn answer(
        &self,
        endpoint: &str,
        parameters: &Parameters,
    ) -> Result<Fields, Refusal> {
        if !["get", "set", "remove"].contains(&endpoint) {
            return Err(Refusal::unknown(&format!("/c/{endpoint}")));
        }
        let k = parameters.required("k")?;
        let mut fields = Fields::from_iter([("k".to_owned(), json!(k))]);
        match endpoint {
            "set" => {
                let value = values::parse(parameters)?;
                fields.append(&mut values::described(Some(&value)));
                self.set(k, value).await;
            }
            "remove" => {
                let was = self.get(k);
                self.remove(k).await;
                fields.insert("was".into(), values::described(was.as_ref()).into());
            }
            _ => fields.append(&mut values::described(self.get(k).as_ref())),
        }
        Ok(fields)
    }
}

/// A value is whole or not there: a panic elsewhere cannot have broken the map.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
