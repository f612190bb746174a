//! Regular expressions in a configuration: they must match the whole text, as in Tomcat.

use std::fmt;

use folkmoot_core::session::NameFilter;
use regex::Regex;

/// A condition on names of attributes or of classes, for `session_attribute_name_filter` and
/// `session_attribute_value_class_name_filter` of [`DeltaManagerConfig`](crate::DeltaManagerConfig): the pattern must
/// match the whole name. The syntax is that of the `regex` crate: Java's without look-around and back references.
pub fn name_filter(pattern: &str) -> Result<NameFilter, PatternError> {
    let regex = whole(pattern)?;
    Ok(NameFilter::new(pattern, move |name| regex.is_match(name)))
}

/// The expression that matches where all of a text matches `pattern`.
pub(crate) fn whole(pattern: &str) -> Result<Regex, PatternError> {
    // Alone first: `a)|(b` would be an expression only between our parentheses.
    let regex = Regex::new(pattern).and_then(|_| Regex::new(&format!(r"\A(?:{pattern})\z")));
    regex.map_err(|source| PatternError {
        pattern: pattern.to_owned(),
        source,
    })
}

/// A filter that is no regular expression.
#[derive(Clone, Debug, PartialEq)]
pub struct PatternError {
    pattern: String,
    source: regex::Error,
}

impl fmt::Display for PatternError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the filter {:?} is no regular expression (look-around and back references are not supported); an example \
             that is: .*\\.gif|.*\\.css",
            self.pattern
        )
    }
}

impl std::error::Error for PatternError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_name_must_match() {
        let filter = name_filter("cart|user.*").unwrap();
        for (name, matches) in [
            ("cart", true),
            ("carts", false),
            ("username", true),
            ("my cart", false),
        ] {
            assert_eq!(filter.matches(name), matches, "{name}");
        }
        assert_eq!(filter.to_string(), "cart|user.*");
    }

    #[test]
    fn a_pattern_that_cannot_be_read_is_named() {
        for pattern in ["(", r"(?!x)y", "*a", "a)|(b"] {
            let error = name_filter(pattern).expect_err(pattern).to_string();
            assert!(
                error.contains(pattern) && error.contains("example"),
                "{error}"
            );
        }
    }
}
