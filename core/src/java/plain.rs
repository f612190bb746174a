//! Values that are read without a walk, since they are in every delta.

use super::store::{List, Store};
use super::table::{Class, Field, Kind, Layout, NONE};
use super::token::{Walker, span};
use super::{JavaError, JavaErrorKind as E, begin, code};

impl<S: Store> Walker<S> {
    /// Passes over a `Boolean` that describes its class, as every session's delta has one, if it stands here: leaves in the tables
    /// what the walk would have left. `false`, and nothing has changed, if something else stands here or a limit is near.
    pub(crate) fn pass_boolean(&mut self, stream: &[u8]) -> Result<bool, JavaError> {
        /// Where the parts of [`begin::BOOLEAN`] begin.
        const NAME: usize = 4;
        const UID: usize = NAME + BOOLEAN_NAME;
        const FLAGS: usize = UID + 8;
        const FIELD: usize = FLAGS + 3;
        const FIELD_NAME: usize = FIELD + 3;
        const BOOLEAN_NAME: usize = "java.lang.Boolean".len();

        let at = self.pos;
        let end = at.saturating_add(begin::BOOLEAN.len() + 1);
        let rest = stream.get(at..end).unwrap_or_default();
        let near = self.limits.depth < 2
            || self.limits.string_bytes < BOOLEAN_NAME
            || self.limits.objects < self.table.entries.len().saturating_add(2)
            || self.next as usize != self.table.entries.len();
        if near || !rest.starts_with(begin::BOOLEAN) {
            return Ok(false);
        }
        let uid = rest.get(UID..FLAGS).and_then(|uid| uid.try_into().ok());
        let uid = i64::from_be_bytes(uid.ok_or(E::BadDescriptor.at(at))?);
        let class = self.table.classes.len() as u32;
        let handle = self.define(Kind::ClassDesc, at + 1, at + FLAGS, class)?;
        let new = Class {
            name: span(at + NAME, BOOLEAN_NAME),
            uid,
            flags: code::SERIALIZABLE,
            proxy: false,
            interfaces: 0,
            complete: true,
            layout: Layout::Regular,
            fields: (self.table.fields.len() as u32, 1),
            object_fields: 0,
            primitive_len: 1,
            superclass: NONE,
            hierarchy: 0,
            handle,
        };
        let field = Field {
            code: b'Z',
            name: span(at + FIELD_NAME, "value".len()),
            signature: self.next,
        };
        let added = self.table.classes.push(new);
        let added = added.and_then(|()| self.table.fields.push(field));
        added.map_err(|_| E::TooManyObjects.at(at))?;
        self.class = class;
        self.define(Kind::Object, at, at + begin::BOOLEAN.len(), class)?;
        self.pos = end;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use crate::java::{Graph, JavaBytes, Limits, ObjectInput, ObjectOutput, STREAM_HEADER};

    #[test]
    fn a_boolean_leaves_what_the_walk_leaves() {
        for value in [false, true] {
            let whole = JavaBytes::from(value);
            let body = whole.body();
            // The class, by its handle; the object; the class again in an object of the other value.
            for (what, second, read) in [
                ("the object", b"q\0~\0\x01".as_slice(), Some(value)),
                ("its class", b"sq\0~\0\0\x01", Some(true)),
                ("nothing", b"q\0~\0\x02", None),
            ] {
                let stream = [&STREAM_HEADER[..], body, second].concat();
                let mut input = ObjectInput::new(&stream, &Limits::DEFAULT).unwrap();
                assert_eq!(input.read_object(), Ok(whole.clone()), "{what}");
                assert_eq!(input.read_boolean_object().ok().flatten(), read, "{what}");
                let mut input = ObjectInput::new(&stream, &Limits::DEFAULT).unwrap();
                assert_eq!(input.read_object(), Ok(whole.clone()), "{what}");
                let second = input.read_object().ok();
                assert_eq!(second, read.map(JavaBytes::from), "{what}");
                let graph = Graph::parse(&stream, &Limits::DEFAULT);
                assert_eq!(graph.is_ok(), read.is_some(), "{what}");
            }
        }
    }

    proptest! {
        /// A limit refuses the same streams whichever way a value is read.
        #[test]
        fn limits_are_those_of_the_walk(
            values in prop::collection::vec(any::<bool>(), 1..4),
            text in "[a-z]{0,30}",
            depth in 0usize..4, objects in 0usize..8, string_bytes in 0usize..32,
        ) {
            let limits = Limits { depth, objects, string_bytes, ..Limits::DEFAULT };
            let mut out = ObjectOutput::new();
            for value in &values {
                out.write_object(&JavaBytes::from(*value)).unwrap();
            }
            out.write_object(&JavaBytes::from(text.as_str())).unwrap();
            let stream = out.finish();
            let mut input = ObjectInput::new(&stream, &limits).unwrap();
            let read = (0..=values.len()).map(|_| input.read_object()).collect::<Result<Vec<_>, _>>();
            let mut input = ObjectInput::new(&stream, &limits).unwrap();
            // Passing over a value is always the walk.
            let passed = (0..=values.len()).map(|_| input.skip_object()).collect::<Result<Vec<_>, _>>();
            prop_assert_eq!(read.as_ref().err(), passed.as_ref().err());
            if let Ok(read) = read {
                let wanted: Vec<JavaBytes> = values.iter().map(|value| JavaBytes::from(*value)).collect();
                prop_assert_eq!(&read[..values.len()], &wanted[..]);
            }
        }
    }
}
