//! Attributes of the web application itself. They stay on their node: there is no `ReplicatedContext` here.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use folkmoot::java::JavaBytes;
use serde_json::json;

use crate::answer::{Fields, Parameters, Refusal};
use crate::values;

#[derive(Default)]
pub(crate) struct ContextAttributes(Mutex<BTreeMap<String, JavaBytes>>);

impl ContextAttributes {
    pub(crate) fn answer(
        &self,
        endpoint: &str,
        parameters: &Parameters,
    ) -> Result<Fields, Refusal> {
        if !["get", "set", "remove"].contains(&endpoint) {
            return Err(Refusal::unknown(&format!("/c/{endpoint}")));
        }
        let k = parameters.required("k")?;
        let mut fields = Fields::from_iter([("k".to_owned(), json!(k))]);
        // A value is whole or not there: a panic elsewhere cannot have broken the map.
        let mut attributes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match endpoint {
            "set" => {
                let value = values::parse(parameters)?;
                fields.append(&mut values::described(Some(&value)));
                attributes.insert(k.to_owned(), value);
            }
            "remove" => {
                let was = attributes.remove(k);
                fields.insert("was".into(), values::described(was.as_ref()).into());
            }
            _ => fields.append(&mut values::described(attributes.get(k))),
        }
        Ok(fields)
    }
}
