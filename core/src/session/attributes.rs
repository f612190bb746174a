//! The attributes of one session.

use alloc::collections::{BTreeMap, btree_map};
use alloc::vec::Vec;
use core::borrow::Borrow;
use core::slice;

use crate::java::{JavaBytes, JavaString};

/// Values by name, in the order of the names.
///
/// The few that a session usually has are a list, which takes no more memory than they are; many are a tree, so that a peer cannot
/// make adding one slow.
#[derive(Clone, Debug)]
pub(crate) struct Attributes(Kept);

#[derive(Clone, Debug)]
enum Kept {
    /// Sorted, at most [`FEW_MAX`].
    Few(Vec<(JavaString, JavaBytes)>),
    Many(BTreeMap<JavaString, JavaBytes>),
}

/// The longest list.
const FEW_MAX: usize = 32;

impl Default for Attributes {
    fn default() -> Self {
        Self::new()
    }
}

impl Attributes {
    pub(crate) const fn new() -> Self {
        Self(Kept::Few(Vec::new()))
    }

    /// How many.
    pub(crate) fn len(&self) -> usize {
        match &self.0 {
            Kept::Few(few) => few.len(),
            Kept::Many(many) => many.len(),
        }
    }

    pub(crate) fn get(&self, name: &(impl Borrow<[u8]> + ?Sized)) -> Option<&JavaBytes> {
        self.get_key_value(name).map(|(_, value)| value)
    }

    pub(crate) fn contains_key(&self, name: &(impl Borrow<[u8]> + ?Sized)) -> bool {
        self.get_key_value(name).is_some()
    }

    /// The name as it is kept, and the value.
    pub(crate) fn get_key_value(
        &self,
        name: &(impl Borrow<[u8]> + ?Sized),
    ) -> Option<(&JavaString, &JavaBytes)> {
        match &self.0 {
            Kept::Few(few) => {
                let (name, value) = few.get(place(few, name.borrow()).ok()?)?;
                Some((name, value))
            }
            Kept::Many(many) => many.get_key_value(name.borrow()),
        }
    }

    pub(crate) fn get_mut(
        &mut self,
        name: &(impl Borrow<[u8]> + ?Sized),
    ) -> Option<&mut JavaBytes> {
        match &mut self.0 {
            Kept::Few(few) => {
                let place = place(few, name.borrow()).ok()?;
                few.get_mut(place).map(|(_, value)| value)
            }
            Kept::Many(many) => many.get_mut(name.borrow()),
        }
    }

    /// Sets a value; gives the one before.
    pub(crate) fn insert(&mut self, name: JavaString, value: JavaBytes) -> Option<JavaBytes> {
        match &mut self.0 {
            Kept::Few(few) => match place(few, name.as_modified_utf8()) {
                Ok(place) => {
                    let (_, present) = few.get_mut(place)?;
                    Some(core::mem::replace(present, value))
                }
                Err(place) if few.len() < FEW_MAX => {
                    if few.capacity() == 0 {
                        // Most have one or two, and a vector begins with four.
                        few.reserve_exact(1);
                    }
                    few.insert(place, (name, value));
                    None
                }
                Err(_) => {
                    let mut many: BTreeMap<_, _> = core::mem::take(few).into_iter().collect();
                    many.insert(name, value);
                    self.0 = Kept::Many(many);
                    None
                }
            },
            Kept::Many(many) => many.insert(name, value),
        }
    }

    /// Takes a value away.
    pub(crate) fn remove(&mut self, name: &(impl Borrow<[u8]> + ?Sized)) -> Option<JavaBytes> {
        match &mut self.0 {
            Kept::Few(few) => {
                let place = place(few, name.borrow()).ok()?;
                Some(few.remove(place).1)
            }
            Kept::Many(many) => many.remove(name.borrow()),
        }
    }

    /// All, in the order of the names.
    pub(crate) fn iter(&self) -> Iter<'_> {
        match &self.0 {
            Kept::Few(few) => Iter::Few(few.iter()),
            Kept::Many(many) => Iter::Many(many.iter()),
        }
    }

    /// The values, in the order of the names.
    #[cfg(test)]
    pub(crate) fn values(&self) -> impl Iterator<Item = &JavaBytes> {
        self.iter().map(|(_, value)| value)
    }
}

/// Where a name stands in a sorted list, or would.
fn place(few: &[(JavaString, JavaBytes)], name: &[u8]) -> Result<usize, usize> {
    few.binary_search_by(|(present, _)| present.as_modified_utf8().cmp(name))
}

/// In any order; of several with one name the last stays. A sorted list is taken as it is.
impl From<Vec<(JavaString, JavaBytes)>> for Attributes {
    fn from(all: Vec<(JavaString, JavaBytes)>) -> Self {
        let sorted = all.is_sorted_by(|(one, _), (next, _)| one < next);
        match sorted && all.len() <= FEW_MAX {
            true => Self(Kept::Few(all)),
            false => {
                let many: BTreeMap<_, _> = all.into_iter().collect();
                match many.len() <= FEW_MAX {
                    true => Self(Kept::Few(many.into_iter().collect())),
                    false => Self(Kept::Many(many)),
                }
            }
        }
    }
}

impl PartialEq for Attributes {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl<'a> IntoIterator for &'a Attributes {
    type Item = (&'a JavaString, &'a JavaBytes);
    type IntoIter = Iter<'a>;

    fn into_iter(self) -> Iter<'a> {
        self.iter()
    }
}

/// [`Attributes::iter`].
#[derive(Clone, Debug)]
pub(crate) enum Iter<'a> {
    Few(slice::Iter<'a, (JavaString, JavaBytes)>),
    Many(btree_map::Iter<'a, JavaString, JavaBytes>),
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a JavaString, &'a JavaBytes);

    fn next(&mut self) -> Option<Self::Item> {
        match self {
            Self::Few(few) => few.next().map(|(name, value)| (name, value)),
            Self::Many(many) => many.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Self::Few(few) => few.size_hint(),
            Self::Many(many) => many.size_hint(),
        }
    }
}

impl ExactSizeIterator for Iter<'_> {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Step {
        Insert(u8, i32),
        Write(u8, i32),
        Remove(u8),
        All(Vec<(u8, i32)>),
    }

    fn step() -> impl Strategy<Value = Step> {
        let name = 0..60u8;
        prop_oneof![
            8 => (name.clone(), any::<i32>()).prop_map(|(name, value)| Step::Insert(name, value)),
            2 => (name.clone(), any::<i32>()).prop_map(|(name, value)| Step::Write(name, value)),
            4 => name.clone().prop_map(Step::Remove),
            1 => proptest::collection::vec((name, any::<i32>()), 0..50).prop_map(Step::All),
        ]
    }

    fn named(name: u8) -> JavaString {
        std::format!("a{name}").into()
    }

    proptest! {
        #[test]
        fn attributes_are_a_map_however_many(steps in proptest::collection::vec(step(), 0..200)) {
            let mut map = BTreeMap::new();
            let mut attributes = Attributes::new();
            for step in steps {
                match step {
                    Step::Insert(name, value) => prop_assert_eq!(
                        attributes.insert(named(name), value.into()),
                        map.insert(named(name), JavaBytes::from(value))
                    ),
                    Step::Write(name, value) => {
                        let written = attributes.get_mut(&named(name)).map(|place| *place = value.into());
                        let wanted = map.get_mut(&named(name)).map(|place| *place = value.into());
                        prop_assert_eq!(written, wanted);
                    }
                    Step::Remove(name) => {
                        let name = named(name);
                        prop_assert_eq!(attributes.remove(&name), map.remove(&name));
                    }
                    Step::All(all) => {
                        let all: Vec<_> = all.into_iter().map(|(name, value)| (named(name), JavaBytes::from(value))).collect();
                        map = all.iter().cloned().collect();
                        attributes = Attributes::from(all);
                    }
                }
                prop_assert_eq!(attributes.len(), map.len());
                prop_assert_eq!(attributes.iter().len(), map.len());
                prop_assert!(attributes.iter().eq(map.iter()));
                for name in 0..60 {
                    let name = named(name);
                    prop_assert_eq!(attributes.get(&name), map.get(&name));
                    prop_assert_eq!(attributes.contains_key(name.as_modified_utf8()), map.contains_key(&name));
                }
            }
        }
    }
}
