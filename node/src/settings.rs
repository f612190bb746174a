//! Settings that are text in Tomcat's configuration, checked when the cluster starts.

use folkmoot_core::wire::{SendOptions, braces};

use crate::error::ConfigError;

/// `channelSendOptions` as one likes to write it: `8`, `"6"`, `"async"`, `"sync,use_ack"`, [`SendOptions`].
#[derive(Clone, Debug)]
pub struct SendOptionsSetting(Setting);

#[derive(Clone, Debug)]
enum Setting {
    Text(String),
    Options(SendOptions),
}

impl From<SendOptions> for SendOptionsSetting {
    fn from(options: SendOptions) -> Self {
        Self(Setting::Options(options))
    }
}

impl From<u32> for SendOptionsSetting {
    fn from(bits: u32) -> Self {
        Self(Setting::Options(SendOptions::from_bits(bits)))
    }
}

impl From<&str> for SendOptionsSetting {
    fn from(text: &str) -> Self {
        Self(Setting::Text(text.to_owned()))
    }
}

impl From<String> for SendOptionsSetting {
    fn from(text: String) -> Self {
        Self(Setting::Text(text))
    }
}

impl SendOptionsSetting {
    /// The options, if session messages can travel with them.
    pub(crate) fn for_sessions(&self) -> Result<SendOptions, ConfigError> {
        let options = match &self.0 {
            Setting::Options(options) => *options,
            Setting::Text(text) => text
                .parse()
                .map_err(|_| ConfigError::UnknownSendOption(text.clone()))?,
        };
        if options.contains(SendOptions::SYNCHRONIZED_ACK)
            && !options.contains(SendOptions::USE_ACK)
        {
            return Err(ConfigError::SynchronizedAckWithoutUseAck(options));
        }
        let elsewhere = [
            SendOptions::SECURE,
            SendOptions::UDP,
            SendOptions::MULTICAST,
        ];
        if elsewhere.into_iter().any(|option| options.contains(option)) {
            return Err(ConfigError::SendOptionNotForSessions(options));
        }
        Ok(options)
    }
}

/// The bytes of a membership domain: ISO-8859-1, or bytes listed in braces (`McastService.setDomain`).
pub(crate) fn domain_bytes(domain: &str) -> Result<Vec<u8>, ConfigError> {
    let bad = || ConfigError::Domain(domain.to_owned());
    if domain.starts_with('{') {
        let mut bytes = Vec::new();
        braces::parse(domain, &mut bytes).map_err(|_| bad())?;
        return Ok(bytes);
    }
    domain
        .chars()
        .map(|c| u8::try_from(u32::from(c)).map_err(|_| bad()))
        .collect()
}

/// Whether `route` can stand behind the dot of a session id: made of characters that cookies, paths and
/// balancers' patterns all take.
pub(crate) fn is_jvm_route(route: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    !route.is_empty() && route.len() <= 255 && route.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn send_options_are_read_in_every_form_and_checked() {
        #[rustfmt::skip]
        let cases: &[(SendOptionsSetting, Result<u32, &str>)] = &[
            (8.into(),                          Ok(8)),
            (0.into(),                          Ok(0)),
            ("6".into(),                        Ok(6)),
            ("async".into(),                    Ok(8)),
            ("sync,use_ack".into(),             Ok(6)),
            (14.into(),                         Ok(14)),
            (SendOptions::USE_ACK.into(),       Ok(2)),
            ("swift".into(),                    Err("asynchronous")),
            (4.into(),                          Err("use 6")),
            ("synchronized_ack".into(),         Err("use 6")),
            (12.into(),                         Err("use 6")),
            (32.into(),                         Err("TCP only")),
            (72.into(),                         Err("TCP only")),
            ("secure".into(),                   Err("TCP only")),
        ];
        for (setting, expected) in cases {
            match (setting.for_sessions(), expected) {
                (Ok(options), Ok(bits)) => assert_eq!(options.bits(), *bits, "{setting:?}"),
                (Err(error), Err(advice)) => assert!(error.to_string().contains(advice), "{error}"),
                (found, _) => panic!("{setting:?}: {found:?}"),
            }
        }
    }

    #[test]
    fn a_domain_is_latin_text_or_listed_bytes() {
        #[rustfmt::skip]
        let cases: &[(&str, Option<&[u8]>)] = &[
            ("",                Some(b"")),
            ("blue",            Some(b"blue")),
            ("caf\u{e9}",       Some(b"caf\xe9")),
            ("{1,2,-1}",        Some(&[1, 2, 255])),
            ("{}",              Some(b"")),
            ("{1,2",            None),
            ("{1,128}",         None),
            ("{1,-129}",        None),
            ("{x}",             None),
            ("\u{3b1}",         None),
        ];
        for (text, expected) in cases {
            let bytes = domain_bytes(text);
            assert_eq!(bytes.as_deref().ok(), *expected, "{text:?}");
            if let Err(error) = bytes {
                assert!(error.to_string().contains("ISO-8859-1"), "{error}");
            }
        }
    }

    #[test]
    fn a_route_is_made_of_what_cookies_take() {
        let long = "x".repeat(256);
        #[rustfmt::skip]
        let cases = [
            ("n1", true), ("node-1_a.b~c", true), ("", false), ("a b", false), ("a;b", false), ("é", false),
            (long.as_str(), false),
        ];
        for (route, good) in cases {
            assert_eq!(is_jvm_route(route), good, "{route:?}");
        }
    }
}
