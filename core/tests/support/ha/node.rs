//! Nodes of graphs as values to be written, with their identity.

use folkmoot_core::java::{Boxed, Content, Graph, JavaError, ObjectOutput, Slot};
use folkmoot_core::session::StreamValue;

use super::build::{Builder, NotBuilt};
use crate::support::json::Json;

/// A value of a graph.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node<'a> {
    pub(super) graph: &'a Graph,
    pub(super) slot: Slot,
}

impl StreamValue for Node<'_> {
    fn write_to(&self, out: &mut ObjectOutput) -> Result<(), JavaError> {
        // A record's own boxed values and equal small ones in attributes are one instance in Java.
        match self.slot.and_then(|node| self.graph.boxed(node)) {
            Some(Boxed::Boolean(value)) => out.write_boolean_object(value),
            Some(Boxed::Integer(value @ -128..=127)) => out.write_integer_object(value),
            Some(Boxed::Long(value @ -128..=127)) => out.write_long_object(value),
            _ => out.write_node(self.graph, self.slot),
        }
        Ok(())
    }
}

/// The values at the top level of a stream, one by one; block data between them is passed over.
pub(super) struct Values<'a>(std::slice::Iter<'a, Content>);

impl<'a> Values<'a> {
    pub(super) fn of(graph: &'a Graph) -> Self {
        Self(graph.contents().iter())
    }

    pub(super) fn next(&mut self) -> Result<Slot, String> {
        let value = self.0.find_map(|content| match content {
            Content::Value(slot) => Some(*slot),
            _ => None,
        });
        value.ok_or_else(|| "the stream ends where a value was expected".to_owned())
    }
}

/// A value, built from its fields if they say all of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Made {
    built: Option<Slot>,
    original: Slot,
}

impl Made {
    pub(super) fn value(
        builder: &mut Builder<'_>,
        json: &Json,
        original: Slot,
    ) -> Result<Self, String> {
        let built = match builder.value(json, original) {
            Ok(slot) => Some(slot),
            Err(NotBuilt::Undetermined) => None,
            Err(NotBuilt::Wrong(what)) => return Err(what),
        };
        Ok(Self { built, original })
    }

    /// A text that the fields give as it is.
    pub(super) fn text(
        builder: &mut Builder<'_>,
        json: &Json,
        original: Slot,
    ) -> Result<Self, String> {
        let shown = Json::Object(vec![("s".to_owned(), json.clone())]);
        Self::value(builder, &shown, original)
    }

    /// What the fields show only for people.
    pub(super) const fn original(original: Slot) -> Self {
        Self {
            built: None,
            original,
        }
    }

    pub(super) const fn is_built(self) -> bool {
        self.built.is_some()
    }

    pub(super) const fn is_null(self) -> bool {
        self.original.is_none()
    }

    /// The value to be written. Objects may be shared between values, so all of them come from one graph: what has
    /// been built, or the original if the fields do not say all of everything.
    pub(super) fn node<'a>(self, built: Option<&'a Graph>, original: &'a Graph) -> Node<'a> {
        match (built, self.built) {
            (Some(graph), Some(slot)) => Node { graph, slot },
            _ => Node {
                graph: original,
                slot: self.original,
            },
        }
    }
}
