//! Which requests are not replicated: `ReplicationValve.filter`.

use std::fmt;

use regex::Regex;

use super::uri;

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
    pub(crate) fn new(pattern: &str) -> Result<Self, FilterError> {
        if pattern.is_empty() {
            return Ok(Self(None));
        }
        // Alone first: `a)|(b` would be whole only between our parentheses.
        let whole = Regex::new(pattern).and_then(|_| Regex::new(&format!(r"\A(?:{pattern})\z")));
        match whole {
            Ok(regex) => Ok(Self(Some(regex))),
            Err(source) => Err(FilterError {
                pattern: pattern.to_owned(),
                source,
            }),
        }
    }

    /// Whether the request for `path`, as it stood in the request line, is left out.
    pub(crate) fn leaves_out(&self, path: &str) -> bool {
        match &self.0 {
            Some(regex) => regex.is_match(&uri::decoded(path)),
            None => false,
        }
    }
}

/// A replication filter that is no regular expression.
#[derive(Clone, Debug, PartialEq)]
pub struct FilterError {
    pattern: String,
    source: regex::Error,
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the replication filter {:?} is no regular expression (look-around and back references are not \
             supported); an example that is: .*\\.gif|.*\\.css",
            self.pattern
        )
    }
}

impl std::error::Error for FilterError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
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

    #[test]
    fn a_pattern_that_cannot_be_read_is_named() {
        for pattern in ["(", r"(?!x)y", "*a", "a)|(b"] {
            let error = ReplicationFilter::new(pattern)
                .expect_err(pattern)
                .to_string();
            assert!(
                error.contains(pattern) && error.contains("example"),
                "{error}"
            );
        }
    }
}
