//! Objects of `Externalizable` classes, written item by item.

use super::{ClassDescriptor, Graph, NodeId, ObjectOutput, Slot, code};

/// The descriptor of an `Externalizable` class, ready to be written: see [`ObjectOutput::begin_external`].
#[derive(Debug)]
pub struct ExternalClass {
    graph: Graph,
    class: NodeId,
}

impl ExternalClass {
    /// The class that `descriptor` describes, with its superclasses.
    pub fn new(descriptor: &ClassDescriptor) -> Self {
        let mut graph = Graph::new();
        let class = graph.add_class(descriptor);
        Self { graph, class }
    }

    fn slot(&self) -> Slot {
        Some(self.class)
    }
}

impl ObjectOutput {
    /// Begins `writeObject` of an `Externalizable` object: what is written from here on is its data, until
    /// [`end_external`](Self::end_external).
    ///
    /// Layout: `73`, the descriptor or a reference to it, the data as at the top level of a stream, `78`.
    pub fn begin_external(&mut self, class: &ExternalClass) {
        self.put_code(code::OBJECT);
        self.write_node(&class.graph, class.slot());
        self.skip_handle();
    }

    /// Ends the object that [`begin_external`](Self::begin_external) began.
    pub fn end_external(&mut self) {
        self.put_code(code::END_BLOCK_DATA);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::java::{JavaBytes, Limits, Part};

    #[test]
    fn an_external_object_is_written_as_a_graph_writes_it() {
        let plain = ClassDescriptor::externalizable("a.External", 7);
        let value = JavaBytes::from("a value");
        for len in [0usize, 1, 255, 256, 1024, 1025, 5000] {
            let data = std::vec![7u8; len];
            let mut out = ObjectOutput::new();
            let class = ExternalClass::new(&plain);
            for _ in 0..2 {
                out.begin_external(&class);
                out.write_bytes(&data);
                out.write_object(&value).unwrap();
                out.end_external();
            }
            let stream = out.finish();
            let graph = Graph::parse(&stream, &Limits::DEFAULT).unwrap();
            assert_eq!(graph.encode(), stream, "{len}");

            let mut built = Graph::new();
            let class = built.add_class(&plain);
            for _ in 0..2 {
                let text = built.add_string(&"a value".into());
                let parts = [Part::Data(&data), Part::Value(Some(text)), Part::End];
                let object = built.add_object(class, &parts);
                built.push(Some(object));
            }
            assert_eq!(built.encode(), stream, "{len}");
        }
    }
}
