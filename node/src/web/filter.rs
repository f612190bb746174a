//! Which requests are not replicated: `ReplicationValve.filter`.

use regex::Regex;

use super::uri;
use crate::pattern::{PatternError, whole};

/// A pattern that must match the *whole* decoded request path, context path included and query left out,
/// for a request to end without replication.
///
/// Changes made in such a request wait for the next one that is not filtered. Tomcat's example:
/// `.*\.gif|.*\.js|.*\.jpeg|.*\.jpg|.*\.png|.*\.htm|.*\.html|.*\.css|.*\.txt`.
/// The syntax is that of the `regex` crate: Java's without look-around and back references.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplicationFilter(Option<Regex>);

impl ReplicationFilter {
    /// The filter that `pattern` names; an empty one lets every request through.
    pub(crate) fn new(pattern: &str) -> Result<Self, PatternError> {
        if pattern.is_empty() {
            return Ok(Self(None));
        }
        whole(pattern).map(|regex| Self(Some(regex)))
    }

    /// Whether the request for `path`, as it stood in the request line, is left out.
    pub(crate) fn leaves_out(&self, path: &str) -> bool {
        match &self.0 {
            Some(regex) => regex.is_match(&uri::decoded(path)),
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_decoded_path_must_match() {
        #[rustfmt::skip]
        let cases: &[(&str, &str, bool)] = &[
            ("",                    "/a.gif",                   false),
            (r".*\.gif|.*\.css",    "/shop/a.gif",              true),
            (r".*\.gif|.*\.css",    "/shop/a.css",              true),
            (r".*\.gif|.*\.css",    "/shop/a.gif/x",            false),
            (r".*\.gif|.*\.css",    "/shop/a.gif;jsessionid=A", true),
            (r".*\.gif",            "/shop/a%2Egif",            true),
            (r"\.gif",              "/shop/a.gif",              false),
            ("/shop/static/.*",     "/shop/static/",            true),
            ("/shop/static/.*",     "/shop/./static/x",         true),
            ("/shop|/cart",         "/shop/cart",               false),
        ];
        for (pattern, path, expected) in cases {
            let filter = ReplicationFilter::new(pattern).unwrap();
            assert_eq!(filter.leaves_out(path), *expected, "{pattern:?} {path:?}");
        }
    }
}
