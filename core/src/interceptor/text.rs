//! Interceptors by Tomcat's class and attribute names, as a configuration file has them.

use alloc::string::{String, ToString};
use core::fmt;
use core::str::FromStr;
use core::time::Duration;

#[cfg(feature = "encrypt")]
use super::EncryptInterceptor;
#[cfg(feature = "gzip")]
use super::GzipInterceptor;
use super::{
    DomainFilterInterceptor, FragmentationInterceptor, Interceptor, OrderInterceptor,
    ThroughputInterceptor, TwoPhaseCommitInterceptor,
};
use crate::wire::braces;

/// The package that may stand before a class name.
const PACKAGE: &str = "org.apache.catalina.tribes.group.interceptors.";

/// What [`Interceptor::named`] knows.
const CLASSES: &[&str] = &[
    #[cfg(feature = "encrypt")]
    "EncryptInterceptor",
    #[cfg(feature = "gzip")]
    "GzipInterceptor",
    "FragmentationInterceptor",
    "OrderInterceptor",
    "TwoPhaseCommitInterceptor",
    "ThroughputInterceptor",
    "DomainFilterInterceptor",
];

/// Why a class or an attribute cannot be used, and what can.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttributeError {
    /// There is no such interceptor here.
    UnknownClass(String),
    /// The class has no such attribute.
    UnknownAttribute {
        /// The class.
        class: &'static str,
        /// The attribute.
        attribute: String,
    },
    /// The attribute does not take this value.
    BadValue {
        /// The class.
        class: &'static str,
        /// The attribute.
        attribute: String,
        /// The value.
        value: String,
        /// What it takes.
        expected: &'static str,
    },
}

impl fmt::Display for AttributeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |f: &mut fmt::Formatter<'_>, names: &[&str]| {
            for (at, name) in names.iter().enumerate() {
                write!(f, "{}{name}", if at > 0 { ", " } else { "" })?;
            }
            Ok(())
        };
        match self {
            Self::UnknownClass(class) => {
                write!(f, "there is no interceptor `{class}`; there are ")?;
                list(f, CLASSES)
            }
            Self::UnknownAttribute { class, attribute } => {
                write!(f, "{class} has no attribute `{attribute}`; it has ")?;
                list(f, attributes(class))
            }
            Self::BadValue {
                class,
                attribute,
                value,
                expected,
            } => write!(f, "{class}: `{attribute}` is {expected}, not `{value}`"),
        }
    }
}

impl core::error::Error for AttributeError {}

/// The attributes of a class. Those of Tomcat that mean nothing here (`providerName`, `statsEnabled`, `deepclone`,
/// `logInterval`) are accepted as well, so that one text configures both.
fn attributes(class: &str) -> &'static [&'static str] {
    match class {
        "EncryptInterceptor" => &[
            "encryptionAlgorithm",
            "encryptionKey",
            "optionFlag",
            "providerName",
            "replayWindowMessageCount",
            "replayWindowTime",
        ],
        "GzipInterceptor" => &[
            "compressionMinSize",
            "interval",
            "optionFlag",
            "statsEnabled",
        ],
        "FragmentationInterceptor" => &["expire", "maxSize", "optionFlag"],
        "OrderInterceptor" => &["expire", "forwardExpired", "maxQueue", "optionFlag"],
        "TwoPhaseCommitInterceptor" => &["deepclone", "expire", "optionFlag"],
        "ThroughputInterceptor" => &["interval", "optionFlag"],
        "DomainFilterInterceptor" => &["domain", "logInterval", "optionFlag"],
        _ => &[],
    }
}

impl Interceptor {
    /// An interceptor with Tomcat's defaults, by the name of its class, with or without Tomcat's package.
    ///
    /// # Errors
    /// [`AttributeError::UnknownClass`].
    pub fn named(class: &str) -> Result<Self, AttributeError> {
        let class = class.trim();
        Ok(match class.strip_prefix(PACKAGE).unwrap_or(class) {
            #[cfg(feature = "encrypt")]
            "EncryptInterceptor" => EncryptInterceptor::new("").into(),
            #[cfg(feature = "gzip")]
            "GzipInterceptor" => GzipInterceptor::default().into(),
            "FragmentationInterceptor" => FragmentationInterceptor::default().into(),
            "OrderInterceptor" => OrderInterceptor::default().into(),
            "TwoPhaseCommitInterceptor" => TwoPhaseCommitInterceptor::default().into(),
            "ThroughputInterceptor" => ThroughputInterceptor::default().into(),
            "DomainFilterInterceptor" => DomainFilterInterceptor::default().into(),
            _ => return Err(AttributeError::UnknownClass(class.to_string())),
        })
    }

    /// Sets an attribute by the name it has in Tomcat's configuration; times are in milliseconds.
    ///
    /// # Errors
    /// An attribute that the class does not have, or a value it does not take. Whether the values work together is
    /// checked with the channel's configuration.
    pub fn set_attribute(&mut self, attribute: &str, value: &str) -> Result<(), AttributeError> {
        let class = self.class_name();
        let (attribute, value) = (attribute.trim(), value.trim());
        let reader = Reader {
            class,
            attribute,
            value,
        };
        match (self, attribute) {
            #[cfg(feature = "encrypt")]
            (Self::Encrypt(config), "encryptionAlgorithm") => {
                config.encryption_algorithm = value.to_string();
            }
            #[cfg(feature = "encrypt")]
            (Self::Encrypt(config), "encryptionKey") => config.encryption_key = value.to_string(),
            #[cfg(feature = "encrypt")]
            (Self::Encrypt(config), "replayWindowTime") => {
                config.replay_window_time = reader.millis()?;
            }
            #[cfg(feature = "encrypt")]
            (Self::Encrypt(config), "replayWindowMessageCount") => {
                config.replay_window_message_count = reader.number()?;
            }
            #[cfg(feature = "gzip")]
            (Self::Gzip(config), "optionFlag") => config.option_flag = reader.flag()?,
            #[cfg(feature = "gzip")]
            (Self::Gzip(config), "compressionMinSize") => {
                config.compression_min_size = reader.number()?;
            }
            (Self::Fragmentation(config), "optionFlag") => config.option_flag = reader.flag()?,
            (Self::Fragmentation(config), "maxSize") => config.max_size = reader.number()?,
            (Self::Fragmentation(config), "expire") => config.expire = reader.millis()?,
            (Self::Order(config), "optionFlag") => config.option_flag = reader.flag()?,
            (Self::Order(config), "expire") => config.expire = reader.millis()?,
            (Self::Order(config), "maxQueue") => config.max_queue = reader.number()?,
            (Self::Order(config), "forwardExpired") => config.forward_expired = reader.bool()?,
            (Self::TwoPhaseCommit(config), "optionFlag") => config.option_flag = reader.flag()?,
            (Self::TwoPhaseCommit(config), "expire") => config.expire = reader.millis()?,
            (Self::Throughput(config), "interval") => config.interval = reader.number()?,
            (Self::DomainFilter(config), "domain") => config.domain = reader.bytes()?,
            // Without an effect here.
            (_, "optionFlag" | "interval" | "logInterval")
                if attributes(class).contains(&attribute) =>
            {
                reader.number::<i64>()?;
            }
            (_, attribute) if attributes(class).contains(&attribute) => {}
            _ => {
                return Err(AttributeError::UnknownAttribute {
                    class,
                    attribute: attribute.to_string(),
                });
            }
        }
        Ok(())
    }
}

/// One attribute on its way in.
struct Reader<'a> {
    class: &'static str,
    attribute: &'a str,
    value: &'a str,
}

impl Reader<'_> {
    fn bad(&self, expected: &'static str) -> AttributeError {
        AttributeError::BadValue {
            class: self.class,
            attribute: self.attribute.to_string(),
            value: self.value.to_string(),
            expected,
        }
    }

    fn number<T: FromStr>(&self) -> Result<T, AttributeError> {
        self.value
            .parse()
            .map_err(|_| self.bad("a whole number that is not negative"))
    }

    fn flag(&self) -> Result<u32, AttributeError> {
        let flag: i32 = self.value.parse().map_err(|_| self.bad("a whole number"))?;
        Ok(flag.cast_unsigned())
    }

    fn millis(&self) -> Result<Duration, AttributeError> {
        let millis = self.value.parse().map(Duration::from_millis);
        millis.map_err(|_| self.bad("a number of milliseconds"))
    }

    fn bool(&self) -> Result<bool, AttributeError> {
        self.value.parse().map_err(|_| self.bad("true or false"))
    }

    /// ISO-8859-1 text, or bytes listed in braces.
    fn bytes(&self) -> Result<alloc::vec::Vec<u8>, AttributeError> {
        let bad = || self.bad("text in ISO-8859-1, or bytes listed in braces");
        if self.value.starts_with('{') {
            let mut bytes = alloc::vec::Vec::new();
            braces::parse(self.value, &mut bytes).map_err(|_| bad())?;
            return Ok(bytes);
        }
        let byte = |c: char| u8::try_from(u32::from(c)).map_err(|_| bad());
        self.value.chars().map(byte).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::string::ToString;

    #[test]
    fn every_class_has_every_attribute_it_lists() {
        for class in CLASSES {
            let mut interceptor = Interceptor::named(class).unwrap();
            assert_eq!(interceptor.class_name(), *class);
            assert_eq!(
                Interceptor::named(&alloc::format!("{PACKAGE}{class}")),
                Ok(interceptor.clone())
            );
            for attribute in attributes(class) {
                let value = match *attribute {
                    "forwardExpired" | "statsEnabled" | "deepclone" => "true",
                    _ => "128",
                };
                interceptor.set_attribute(attribute, value).unwrap();
            }
        }
    }

    #[test]
    fn attributes_are_named_as_in_tomcat() {
        let mut order = Interceptor::named("OrderInterceptor").unwrap();
        for (attribute, value) in [
            ("expire", "150"),
            ("forwardExpired", "false"),
            ("maxQueue", "7"),
        ] {
            order.set_attribute(attribute, value).unwrap();
        }
        let expected = OrderInterceptor {
            option_flag: 0,
            expire: Duration::from_millis(150),
            forward_expired: false,
            max_queue: 7,
        };
        assert_eq!(order, expected.into());
    }

    #[test]
    fn what_is_wrong_is_named_with_what_would_be_right() {
        #[rustfmt::skip]
        let cases: &[(&str, &str, &str, &str)] = &[
            ("NoInterceptor", "a", "1", "there is no interceptor `NoInterceptor`; there are"),
            ("OrderInterceptor", "expires", "1", "OrderInterceptor has no attribute `expires`; it has expire, forwardExpired"),
            ("OrderInterceptor", "expire", "soon", "OrderInterceptor: `expire` is a number of milliseconds, not `soon`"),
            ("OrderInterceptor", "forwardExpired", "1", "true or false"),
            ("FragmentationInterceptor", "maxSize", "-1", "not negative"),
            ("DomainFilterInterceptor", "domain", "\u{3b1}", "ISO-8859-1"),
            ("ThroughputInterceptor", "optionFlag", "x", "a whole number"),
        ];
        for (class, attribute, value, expected) in cases {
            let error = Interceptor::named(class)
                .and_then(|mut interceptor| interceptor.set_attribute(attribute, value))
                .unwrap_err()
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
