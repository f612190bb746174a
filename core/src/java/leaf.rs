//! Boxed values and byte arrays in a stream being written: what most values are, written without looking at them
//! closely.

use super::begin;
use super::shared::Shared;
use super::table::NONE;

/// What the values begin with that are copied whole as long as nothing in the stream describes their class.
const BEGINNINGS: [&[u8]; 9] = [
    begin::BYTES,
    begin::BOOLEAN,
    begin::INTEGER,
    begin::LONG,
    begin::DOUBLE,
    begin::CHARACTER,
    begin::BYTE,
    begin::SHORT,
    begin::FLOAT,
];

/// What those end with whose superclass is `java.lang.Number`.
const NUMBER: &[u8] = b"xr\0\x10java.lang.Number\x86\xAC\x95\x1D\x0B\x94\xE0\x8B\x02\0\0xp";

/// The classes of leaves that the stream describes, as far as it is known here.
#[derive(Debug, Default)]
pub(crate) struct Leaves(heapless::Vec<Described, { BEGINNINGS.len() }>);

#[derive(Clone, Copy, Debug)]
struct Described {
    beginning: &'static [u8],
    /// The class's handle. If the descriptor has been copied whole, a superclass has the next one.
    class: u32,
    /// Whether [`Shared`] has been told.
    settled: bool,
}

/// How a leaf is to be written.
pub(crate) enum Leaf<'v> {
    /// As it is: so many handles are taken.
    Whole(u32),
    /// With a reference to the class: the type code, the class's handle, the value.
    Again(u8, u32, &'v [u8]),
}

impl Leaves {
    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// How to write the value `body`, which gets the handle `next` if it is copied whole; `None` if it is no leaf or has
    /// to be written with care.
    pub(crate) fn write<'v>(
        &mut self,
        shared: &Shared,
        body: &'v [u8],
        next: u32,
    ) -> Option<Leaf<'v>> {
        let beginning = beginning_of(body)?;
        if let Some(known) = self.known(beginning) {
            return Some(Leaf::Again(
                *body.first()?,
                known.class,
                body.get(beginning.len()..)?,
            ));
        }
        let numeric = beginning.ends_with(NUMBER);
        let described = numeric && self.0.iter().any(|known| known.beginning.ends_with(NUMBER));
        if described || shared.knows_classes() {
            return None;
        }
        self.0
            .push(Described {
                beginning,
                class: next,
                settled: false,
            })
            .ok()?;
        Some(Leaf::Whole(if numeric { 3 } else { 2 }))
    }

    /// Tells `shared` of the classes: something else is going to be written that may refer to them.
    pub(crate) fn settle(&mut self, shared: &mut Shared) {
        for known in self.0.iter_mut().filter(|known| !known.settled) {
            known.settled = true;
            let mut superclass = NONE;
            if known.beginning.ends_with(NUMBER) {
                superclass = known.class.saturating_add(1);
                make_key(shared, NUMBER, NONE);
                shared.keep_key(superclass);
            }
            make_key(shared, known.beginning, superclass);
            shared.keep_key(known.class);
        }
    }

    /// The value `body` has been written with care: if it is a leaf, the next one of its class need not be.
    pub(crate) fn learn(&mut self, shared: &mut Shared, body: &[u8]) -> Option<()> {
        let beginning = beginning_of(body).filter(|beginning| self.known(beginning).is_none())?;
        let mut superclass = NONE;
        if beginning.ends_with(NUMBER) {
            make_key(shared, NUMBER, NONE);
            superclass = shared.class_of_key()?;
        }
        make_key(shared, beginning, superclass);
        let class = shared.class_of_key()?;
        self.0
            .push(Described {
                beginning,
                class,
                settled: true,
            })
            .ok()
    }

    fn known(&self, beginning: &[u8]) -> Option<&Described> {
        self.0.iter().find(|known| known.beginning == beginning)
    }
}

fn beginning_of(body: &[u8]) -> Option<&'static [u8]> {
    BEGINNINGS
        .into_iter()
        .find(|beginning| body.starts_with(beginning))
}

/// Makes the key of the class whose descriptor begins with the second byte of `bytes`.
fn make_key(shared: &mut Shared, bytes: &[u8], superclass: u32) -> Option<()> {
    let rest = bytes.get(2..)?;
    let (len, rest) = rest.split_first_chunk()?;
    let (name, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    let (uid, rest) = rest.split_first_chunk()?;
    let (flags, rest) = rest.split_first()?;
    shared.begin_key(name, i64::from_be_bytes(*uid), *flags, false, superclass);
    // Either no field, or one: `value`.
    if let Some([code, ..]) = rest.strip_prefix(b"\0\x01") {
        shared.key_field(*code, b"value", b"");
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use std::vec::Vec;

    use proptest::prelude::*;

    use crate::java::{ClassRegistry, Graph, JavaBytes, Limits, ObjectInput, ObjectOutput, Value};

    fn value() -> impl Strategy<Value = JavaBytes> {
        let list = Value::list(std::vec![Value::from(300), Value::from(4i64)]);
        let list = list.to_java(&ClassRegistry::new()).unwrap();
        prop_oneof![
            any::<bool>().prop_map(JavaBytes::from),
            any::<i8>().prop_map(JavaBytes::from),
            any::<i16>().prop_map(JavaBytes::from),
            any::<i32>().prop_map(JavaBytes::from),
            any::<i64>().prop_map(JavaBytes::from),
            any::<f64>().prop_map(JavaBytes::from),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(JavaBytes::from),
            "[a-c]{0,3}".prop_map(JavaBytes::from),
            Just(list),
            Just(JavaBytes::NULL),
        ]
    }

    proptest! {
        /// Whatever is written in whatever order, each class is described once and the values come out again.
        #[test]
        fn leaves_share_what_everything_else_shares(values in prop::collection::vec((value(), any::<bool>()), 0..12)) {
            let mut out = ObjectOutput::new();
            for (value, boxed) in &values {
                out.write_object(value).unwrap();
                if *boxed {
                    out.write_long_object(1 << 40);
                    out.write_integer_object(1 << 20);
                    out.write_boolean_object(true);
                }
            }
            let stream = out.finish();
            let graph = Graph::parse(&stream, &Limits::DEFAULT).unwrap();
            prop_assert_eq!(&graph.encode(), &stream);
            for name in [&b"java.lang.Integer\x12"[..], b"java.lang.Long;", b"java.lang.Number", b"\0\x02[B\xAC", b"java.lang.Boolean"] {
                let times = stream.windows(name.len()).filter(|window| *window == name).count();
                prop_assert!(times <= 1, "{:?} {} times", name, times);
            }
            let mut input = ObjectInput::new(&stream, &Limits::DEFAULT).unwrap();
            for (value, boxed) in &values {
                prop_assert_eq!(&input.read_object().unwrap(), value);
                if *boxed {
                    let read: Vec<_> = (0..3).map(|_| input.read_object().unwrap()).collect();
                    prop_assert_eq!(read, [JavaBytes::from(1i64 << 40), (1i32 << 20).into(), true.into()]);
                }
            }
            input.finish().unwrap();
        }
    }
}
