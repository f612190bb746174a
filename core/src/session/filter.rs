//! Which attributes are replicated.

use alloc::string::String;
use alloc::sync::Arc;
use core::fmt;

use crate::java::{JavaBytes, JavaString};

/// A condition on a name. The embedder brings it, so that this crate needs no regular expressions: Tomcat's filters
/// are regular expressions that must match the whole name.
#[derive(Clone)]
pub struct NameFilter {
    text: Arc<str>,
    matches: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl NameFilter {
    /// A condition, and the text it is shown as.
    pub fn new(
        text: impl Into<String>,
        matches: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            text: Arc::from(text.into()),
            matches: Arc::new(matches),
        }
    }

    /// Whether `name` passes.
    pub fn matches(&self, name: &str) -> bool {
        (self.matches)(name)
    }
}

impl fmt::Debug for NameFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

impl fmt::Display for NameFilter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Never replicated. `StandardSession.excludedAttributes`.
const EXCLUDED: [&[u8]; 2] = [
    b"javax.security.auth.subject",
    b"org.apache.catalina.valves.CrawlerSessionManagerValve",
];

/// The filters of a manager. `ManagerBase.willAttributeDistribute`.
#[derive(Clone, Debug, Default)]
pub(crate) struct AttributeFilters {
    pub(crate) name: Option<NameFilter>,
    pub(crate) value_class_name: Option<NameFilter>,
}

impl AttributeFilters {
    /// Whether the attribute is replicated; the class of a value to be removed does not matter.
    pub(crate) fn included(&self, name: &JavaString, value: Option<&JavaBytes>) -> bool {
        if EXCLUDED.contains(&name.as_modified_utf8()) {
            return false;
        }
        if self
            .name
            .as_ref()
            .is_some_and(|filter| !filter.matches(&name.to_string_lossy()))
        {
            return false;
        }
        let (Some(filter), Some(value)) = (&self.value_class_name, value) else {
            return true;
        };
        value
            .class_name()
            .is_none_or(|class| filter.matches(&class.to_string_lossy()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attribute_is_replicated_if_nothing_excludes_it() {
        let none = AttributeFilters::default();
        let names = AttributeFilters {
            name: Some(NameFilter::new("keep.*", |name| name.starts_with("keep"))),
            ..Default::default()
        };
        let classes = AttributeFilters {
            value_class_name: Some(NameFilter::new(".*String", |name| name.ends_with("String"))),
            ..Default::default()
        };
        let (text, number) = (JavaBytes::from("v"), JavaBytes::from(5));
        #[rustfmt::skip]
        let cases: &[(&AttributeFilters, &str, Option<&JavaBytes>, bool)] = &[
            (&none,    "a",                           Some(&text),   true),
            (&none,    "javax.security.auth.subject", Some(&text),   false),
            (&none,    "org.apache.catalina.valves.CrawlerSessionManagerValve", None, false),
            (&names,   "keep1",                       Some(&number), true),
            (&names,   "other",                       Some(&number), false),
            (&names,   "other",                       None,          false),
            (&classes, "a",                           Some(&text),   true),
            (&classes, "a",                           Some(&number), false),
            (&classes, "a",                           None,          true),
        ];
        for (filters, name, value, included) in cases {
            assert_eq!(
                filters.included(&(*name).into(), *value),
                *included,
                "{name} {value:?} {filters:?}"
            );
        }
    }
}
