//! The reply to STATE and STATE_COPY: a list of map messages.

use alloc::vec::Vec;

use super::message::{MapMessage, MapMessageError};
use super::writer::MapWriter;
use crate::java::{CustomData, Graph, Limits};

/// A list of map messages, read one by one from the value of a reply.
///
/// Layout: a `java.util.ArrayList` of [`MapMessage`]s, which share what is the same object in Java.
#[derive(Debug)]
pub struct StateList {
    graph: Graph,
    /// Bytes of the stream.
    len: usize,
}

impl StateList {
    /// Reads a stream as far as its structure goes.
    ///
    /// # Errors
    /// If it is damaged, exceeds `limits`, or holds no list.
    pub fn parse(stream: &[u8], limits: &Limits) -> Result<Self, MapMessageError> {
        let graph = Graph::parse(stream, limits)?;
        let list = Self {
            graph,
            len: stream.len(),
        };
        list.elements()?;
        Ok(list)
    }

    /// Appends the stream of a list of messages. What is the same memory becomes the same Java object.
    pub fn write(messages: &[MapMessage<'_>], out: &mut Vec<u8>) {
        let mut list = MapWriter::list(out, messages.len());
        for message in messages {
            list.message(message);
        }
        list.end_list();
    }

    fn elements(&self) -> Result<CustomData<'_>, MapMessageError> {
        let root = self.graph.root().ok_or(MapMessageError::OtherClass)?;
        let mut elements = self
            .graph
            .custom_data(root, b"java.util.ArrayList")
            .ok_or(MapMessageError::OtherClass)?;
        // The capacity.
        elements.i32().ok_or(MapMessageError::OtherClass)?;
        Ok(elements)
    }

    /// The messages, in order. Keys and values together may not be longer than the stream: Java never shares them, and
    /// a stream that does would grow without bound when they are kept.
    pub fn messages(&self) -> impl Iterator<Item = Result<MapMessage<'_>, MapMessageError>> {
        let mut elements = self.elements().ok();
        let mut left = self.len;
        core::iter::from_fn(move || {
            let element = elements.as_mut()?.slot()?;
            let message = element.map_or(Err(MapMessageError::OtherClass), |node| {
                MapMessage::of_graph(&self.graph, node)
            });
            let message = message.and_then(|message| {
                let kept = [message.key, message.value, message.diff_value];
                let kept = kept.map(|part| part.map_or(0, <[u8]>::len));
                left = kept
                    .into_iter()
                    .try_fold(left, usize::checked_sub)
                    .ok_or(MapMessageError::Field("valuedata"))?;
                Ok(message)
            });
            if message.is_err() {
                elements = None;
            }
            Some(message)
        })
    }
}
