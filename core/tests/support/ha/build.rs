//! Values built from what a vector shows of them.

use std::collections::HashMap;

use folkmoot_core::java::{
    BigInteger, ClassRegistry, Collection, FieldValue, Graph, JavaString, NodeId, Part, Slot,
};

use super::compare::{boxed, bytes_of, class_in_stream, uuid};
use crate::support::hex;
use crate::support::json::Json;
use crate::support::vector::int;

/// Why a value cannot be built.
pub(crate) enum NotBuilt {
    /// Its fields do not say all of it: a class name alone, custom data.
    Undetermined,
    /// It could be, but something is wrong.
    Wrong(String),
}

impl From<&str> for NotBuilt {
    fn from(what: &str) -> Self {
        Self::Wrong(what.to_owned())
    }
}

impl From<String> for NotBuilt {
    fn from(what: String) -> Self {
        Self::Wrong(what)
    }
}

/// Builds values in a graph of its own.
///
/// The fields do not tell which objects are the same instance, nor the descriptors of the application's classes:
/// that is taken from the stream, `original`; all else is built from the fields.
pub(crate) struct Builder<'o> {
    /// What has been built.
    pub(crate) graph: Graph,
    original: &'o Graph,
    registry: ClassRegistry,
    /// What stands here for nodes of the original.
    twins: HashMap<NodeId, NodeId>,
}

impl<'o> Builder<'o> {
    pub(crate) fn new(original: &'o Graph) -> Self {
        let mut registry = ClassRegistry::new();
        registry.learn_graph(original);
        Self {
            graph: Graph::new(),
            original,
            registry,
            twins: HashMap::new(),
        }
    }

    /// The value that `json` shows and that the original has at `slot`.
    pub(crate) fn value(&mut self, json: &Json, slot: Slot) -> Result<Slot, NotBuilt> {
        let Some(original) = slot else {
            return Ok(None);
        };
        if let Some(&twin) = self.twins.get(&original) {
            return Ok(Some(twin));
        }
        let node = match json.get("object") {
            Some(class) => self.object(json, class.as_str().unwrap_or_default(), original)?,
            None => self.known(json, original)?,
        };
        self.twins.insert(original, node);
        Ok(Some(node))
    }

    fn known(&mut self, json: &Json, original: NodeId) -> Result<NodeId, NotBuilt> {
        let text = |key: &str| json[key].as_str().unwrap_or_default();
        if let Some(text) = json["s"].as_text() {
            return Ok(self.graph.add_string(&JavaString::from_utf16(&text.units)));
        }
        if json.get("sLen").is_some() {
            // Its digest has been compared.
            let text = self.original.text(original).ok_or("not a string")?;
            return Ok(self.graph.add_string(&text));
        }
        if json.get("boxed").is_some() {
            return Ok(self.graph.add_boxed(boxed(json)?));
        }
        if json.get("bytes").is_some() {
            let bytes = hex::decode(text("bytes")).ok_or("not hexadecimal")?;
            return Ok(self.graph.add_bytes_array(&bytes));
        }
        if let Some(ms) = json.get("date") {
            return Ok(self.graph.add_date(int(ms).ok_or("not a date")?));
        }
        if json.get("bigint").is_some() {
            return self.big_integer(text("bigint"));
        }
        if json.get("bigdec").is_some() {
            let unscaled = self.big_integer(text("bigdec"))?;
            let scale = json["scale"].as_i64().ok_or("no scale")?;
            return Ok(self.graph.add_big_decimal(unscaled, scale as i32));
        }
        if let Some(digits) = json.get("uuid") {
            return Ok(self.graph.add_uuid(uuid(digits)?));
        }
        if json.get("enum").is_some() {
            let class = self.graph.add_enum_class(&JavaString::from(text("enum")));
            let name = self.graph.add_string(&JavaString::from(text("name")));
            return Ok(self.graph.add_enum(class, name));
        }
        if json.get("array").is_some() {
            return self.array(
                text("array"),
                json["items"].as_list().unwrap_or_default(),
                original,
            );
        }
        self.collection(json, original)
    }

    fn big_integer(&mut self, digits: &str) -> Result<NodeId, NotBuilt> {
        let integer: BigInteger = digits.parse().map_err(|_| "not an integer")?;
        Ok(self
            .graph
            .add_big_integer(integer.signum(), integer.magnitude()))
    }

    fn array(&mut self, class: &str, items: &[Json], original: NodeId) -> Result<NodeId, NotBuilt> {
        let class = self.class(class)?;
        if let Some(elements) = self.original.object_array(original) {
            let elements = self.values(items, &elements)?;
            return Ok(self.graph.add_array(class, &elements));
        }
        let mut bytes = Vec::new();
        for item in items {
            bytes.extend(bytes_of(boxed(item)?));
        }
        Ok(self.graph.add_primitive_array(class, &bytes))
    }

    fn values(&mut self, items: &[Json], slots: &[Slot]) -> Result<Vec<Slot>, NotBuilt> {
        items
            .iter()
            .zip(slots)
            .map(|(json, &slot)| self.value(json, slot))
            .collect()
    }

    fn collection(&mut self, json: &Json, original: NodeId) -> Result<NodeId, NotBuilt> {
        let class = ["list", "set", "map"]
            .iter()
            .find_map(|kind| json[*kind].as_str())
            .ok_or(NotBuilt::Undetermined)?;
        let items = json
            .get("items")
            .or(json.get("entries"))
            .and_then(Json::as_list)
            .unwrap_or_default();
        Ok(
            match self
                .original
                .collection(original)
                .ok_or("not a collection")?
            {
                Collection::List(slots) => {
                    let elements = self.values(items, &slots)?;
                    self.graph.add_list(class, &elements)
                }
                Collection::Set(slots) => {
                    let elements = self.values(items, &slots)?;
                    self.graph.add_set(class, &elements)
                }
                Collection::Map(entries) => {
                    let mut built = Vec::new();
                    for (json, (key, value)) in items.iter().zip(entries) {
                        let [json_key, json_value] = json.as_list().unwrap_or_default() else {
                            return Err("an entry is no pair".into());
                        };
                        built.push((self.value(json_key, key)?, self.value(json_value, value)?));
                    }
                    let node = self.graph.add_map(class, &built);
                    // The capacity that a map was made with is not shown.
                    if self.graph.field(node, "threshold")
                        != self.original.field(original, "threshold")
                    {
                        return Err(NotBuilt::Undetermined);
                    }
                    node
                }
            },
        )
    }

    /// The descriptor of a class, as it was learned from the original.
    pub(crate) fn class(&mut self, name: &str) -> Result<NodeId, NotBuilt> {
        let class = self
            .registry
            .descriptor(&JavaString::from(name))
            .ok_or_else(|| format!("class {name} is unknown"))?;
        Ok(self.graph.add_class(&class))
    }

    /// An object without data of its own, from its fields.
    fn object(&mut self, json: &Json, class: &str, original: NodeId) -> Result<NodeId, NotBuilt> {
        if let Some(ms) = json.get("millis") {
            let (ms, nanos) = (
                int(ms).ok_or("not a date")?,
                json["nanos"].as_i64().ok_or("no nanos")?,
            );
            return Ok(self
                .graph
                .add_timestamp(ms.div_euclid(1000) * 1000, nanos as u32));
        }
        let name = JavaString::from(class_in_stream(class));
        let descriptor = self
            .registry
            .descriptor(&name)
            .ok_or(NotBuilt::Undetermined)?;
        let shown = json["fields"].as_object().unwrap_or_default();
        let fields = self.original.fields(original);
        if descriptor.has_own_data()
            || fields.is_empty()
            || fields
                .iter()
                .any(|field| !shown.iter().any(|(name, _)| field.name == name.as_str()))
        {
            return Err(NotBuilt::Undetermined);
        }
        // The object first, so that its fields can refer to it: for each class its primitive fields in one run of
        // bytes, then nulls for the others.
        let mut levels: Vec<(JavaString, Vec<u8>, usize)> = Vec::new();
        for field in &fields {
            if levels.last().is_none_or(|level| level.0 != field.class) {
                levels.push((field.class.clone(), Vec::new(), 0));
            }
            let (_, bytes, references) = levels.last_mut().ok_or("no level")?;
            match field.value {
                FieldValue::Primitive(_) => {
                    let json = &json["fields"][&*field.name.to_string_lossy()];
                    bytes.extend(bytes_of(boxed(json)?));
                }
                FieldValue::Reference(_) => *references += 1,
            }
        }
        let mut parts = Vec::new();
        for (_, bytes, references) in &levels {
            parts.push(Part::Primitives(bytes));
            parts.extend((0..*references).map(|_| Part::Value(None)));
        }
        let class = self.graph.add_class(&descriptor);
        let node = self.graph.add_object(class, &parts);
        self.twins.insert(original, node);
        for field in &fields {
            if let FieldValue::Reference(slot) = field.value {
                let name = field.name.to_string_lossy();
                let value = self.value(&json["fields"][&*name], slot)?;
                let set = self
                    .graph
                    .set_field(node, &name, FieldValue::Reference(value));
                set.map_err(|error| error.to_string())?;
            }
        }
        Ok(node)
    }
}
