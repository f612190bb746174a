//! The probe's configuration: environment variables alone.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use folkmoot::interceptor::Interceptor;
use folkmoot::{Driver, SendOptions, UniqueId};

/// A variable that makes no sense, and what would.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadVariable {
    pub(crate) variable: &'static str,
    pub(crate) value: String,
    pub(crate) expected: String,
}

impl fmt::Display for BadVariable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}={:?}: expected {}",
            self.variable, self.value, self.expected
        )
    }
}

/// How the nodes find each other.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Membership {
    /// `McastService`.
    Multicast {
        address: Ipv4Addr,
        port: u16,
        bind: Option<Ipv4Addr>,
        frequency: Duration,
        drop_time: Duration,
    },
    /// `StaticMembershipInterceptor` with `TcpPingInterceptor`.
    Static(Vec<(SocketAddr, UniqueId)>),
    /// `StaticMembershipService`.
    StaticService(Vec<(SocketAddr, UniqueId)>),
    /// Nobody: `PROBE_MANAGER=none`.
    Alone,
}

/// Who keeps the sessions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Manager {
    /// `DeltaManager`: everybody has all of them.
    Delta,
    /// `BackupManager`: two nodes have each of them.
    Backup,
    /// Nobody else.
    None,
}

/// A web application: its name in `PROBE_CONTEXTS` and its context path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Context {
    /// `""` for `ROOT`, else `/…`.
    pub(crate) path: String,
}

/// Everything the environment says.
#[derive(Debug)]
pub(crate) struct Environment {
    pub(crate) name: String,
    pub(crate) http: SocketAddr,
    pub(crate) receiver: SocketAddr,
    pub(crate) membership: Membership,
    /// In the order of `server.xml`.
    pub(crate) interceptors: Vec<Interceptor>,
    pub(crate) domain: String,
    pub(crate) unique_id: Option<UniqueId>,
    pub(crate) manager: Manager,
    pub(crate) send_options: SendOptions,
    /// How bytes are moved: `PROBE_DRIVER`.
    pub(crate) driver: Driver,
    /// Whether a ring does all that it can: `PROBE_RING`.
    pub(crate) ring: bool,
    pub(crate) map_send_options: SendOptions,
    pub(crate) replicated_context: bool,
    pub(crate) contexts: Vec<Context>,
    pub(crate) background_delay: Duration,
    pub(crate) process_expires_frequency: u32,
    pub(crate) jvm_route_valve: bool,
    pub(crate) node_dir: Option<PathBuf>,
}

/// Reads variables through `lookup`; an empty value counts as unset.
struct Reader<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Reader<'_> {
    fn text(&self, variable: &'static str) -> Option<String> {
        (self.0)(variable)
            .map(|value| value.trim().to_owned())
            .filter(|value| !value.is_empty())
    }

    fn parsed<T: FromStr>(
        &self,
        variable: &'static str,
        expected: &str,
    ) -> Result<Option<T>, BadVariable> {
        let Some(value) = self.text(variable) else {
            return Ok(None);
        };
        match value.parse() {
            Ok(parsed) => Ok(Some(parsed)),
            Err(_) => Err(bad(variable, value, expected)),
        }
    }

    fn or<T: FromStr>(
        &self,
        variable: &'static str,
        default: T,
        expected: &str,
    ) -> Result<T, BadVariable> {
        Ok(self.parsed(variable, expected)?.unwrap_or(default))
    }

    fn yes(&self, variable: &'static str, default: bool) -> Result<bool, BadVariable> {
        match self.text(variable).as_deref() {
            None => Ok(default),
            Some("yes" | "true" | "1") => Ok(true),
            Some("no" | "false" | "0") => Ok(false),
            Some(other) => Err(bad(variable, other.to_owned(), "yes or no")),
        }
    }
}

fn bad(variable: &'static str, value: String, expected: impl Into<String>) -> BadVariable {
    BadVariable {
        variable,
        value,
        expected: expected.into(),
    }
}

impl Environment {
    /// Reads the process's environment.
    pub(crate) fn read() -> Result<Self, BadVariable> {
        Self::from_lookup(&|name| std::env::var(name).ok())
    }

    /// Reads variables from anywhere.
    pub(crate) fn from_lookup(
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, BadVariable> {
        let env = Reader(lookup);
        let port = "a port number from 0 to 65535";
        let address = "an IP address of this host";
        let localhost = IpAddr::V4(Ipv4Addr::LOCALHOST);
        let http_port = env.or("PROBE_HTTP_PORT", 8081, port)?;
        let receiver_port = env.or("PROBE_CLUSTER_PORT", 4000, port)?;
        let index: u32 = env.or("PROBE_NODE", 1, "the node's number, such as 1")?;
        // The size of the cluster is for clients; it is checked all the same.
        env.or::<u32>("PROBE_NODES", 1, "the number of nodes, such as 2")?;

        let manager = match env.text("PROBE_MANAGER").as_deref() {
            None | Some("delta") => Manager::Delta,
            Some("backup") => Manager::Backup,
            Some("none") => Manager::None,
            Some(other) => {
                let expected = "delta, backup or none";
                return Err(bad("PROBE_MANAGER", other.to_owned(), expected));
            }
        };

        Ok(Self {
            name: env
                .text("PROBE_NAME")
                .unwrap_or_else(|| format!("n{index}")),
            http: SocketAddr::new(env.or("PROBE_HTTP_HOST", localhost, address)?, http_port),
            receiver: SocketAddr::new(
                env.or("PROBE_CLUSTER_HOST", localhost, address)?,
                receiver_port,
            ),
            membership: match manager {
                Manager::None => Membership::Alone,
                Manager::Delta | Manager::Backup => membership(&env)?,
            },
            interceptors: interceptors(&env)?,
            manager,
            map_send_options: options(&env, "PROBE_MAP_SEND_OPTIONS", "6")?,
            replicated_context: env.yes("PROBE_CTX_REPLICATED", false)?,
            domain: env.text("PROBE_DOMAIN").unwrap_or_default(),
            unique_id: env.parsed("PROBE_UNIQUE_ID", "32 hexadecimal digits")?,
            send_options: options(&env, "PROBE_SEND_OPTIONS", "8")?,
            driver: env.or("PROBE_DRIVER", Driver::Auto, "auto, mio or io_uring")?,
            ring: env.yes("PROBE_RING", false)?,
            contexts: contexts(&env)?,
            background_delay: Duration::from_secs(env.or(
                "PROBE_BG_DELAY_S",
                1,
                "seconds, at least 1",
            )?),
            process_expires_frequency: env.or("PROBE_EXPIRE_FREQ", 1, "a number of at least 1")?,
            jvm_route_valve: env.yes("PROBE_JVMROUTE_VALVE", true)?,
            node_dir: env.text("PROBE_NODE_DIR").map(PathBuf::from),
        })
    }
}

fn options(
    env: &Reader<'_>,
    variable: &'static str,
    default: &str,
) -> Result<SendOptions, BadVariable> {
    let value = env.text(variable).unwrap_or_else(|| default.to_owned());
    value.parse().map_err(|error| {
        bad(
            variable,
            value.clone(),
            format!("send options such as 8, 6 or `async` ({error})"),
        )
    })
}

fn membership(env: &Reader<'_>) -> Result<Membership, BadVariable> {
    match env.text("PROBE_MEMBERSHIP").as_deref() {
        None | Some("mcast") => {
            let ms = "milliseconds, at least 1";
            Ok(Membership::Multicast {
                address: env.or(
                    "PROBE_MCAST_ADDR",
                    Ipv4Addr::new(228, 0, 0, 4),
                    "an IPv4 multicast address",
                )?,
                port: env.or("PROBE_MCAST_PORT", 45564, "a port number")?,
                bind: env.parsed(
                    "PROBE_MCAST_BIND",
                    "an IPv4 address of this host, or nothing",
                )?,
                frequency: Duration::from_millis(env.or("PROBE_MCAST_FREQ_MS", 500, ms)?),
                drop_time: Duration::from_millis(env.or("PROBE_MCAST_DROP_MS", 3000, ms)?),
            })
        }
        Some("static") => Ok(Membership::Static(static_members(env)?)),
        Some("static-svc") => Ok(Membership::StaticService(static_members(env)?)),
        Some(other) => Err(bad(
            "PROBE_MEMBERSHIP",
            other.to_owned(),
            "mcast, static or static-svc",
        )),
    }
}

fn static_members(env: &Reader<'_>) -> Result<Vec<(SocketAddr, UniqueId)>, BadVariable> {
    const EXPECTED: &str = "host:port:idhex,… with 32 hexadecimal digits for each id";
    let list = env.text("PROBE_STATIC_MEMBERS").unwrap_or_default();
    let entries = list
        .split(',')
        .map(str::trim)
        .filter(|entry| !entry.is_empty());
    let member = |entry: &str| {
        let (address, id) = entry.rsplit_once(':')?;
        Some((address.parse().ok()?, id.parse().ok()?))
    };
    entries
        .map(|entry| {
            member(entry).ok_or_else(|| bad("PROBE_STATIC_MEMBERS", entry.to_owned(), EXPECTED))
        })
        .collect()
}

/// `Class,attribute=value;Class2`.
fn interceptors(env: &Reader<'_>) -> Result<Vec<Interceptor>, BadVariable> {
    const VARIABLE: &str = "PROBE_INTERCEPTORS";
    let text = env.text(VARIABLE).unwrap_or_default();
    let one = |description: &str| {
        let wrong = |why: String| bad(VARIABLE, description.to_owned(), why);
        let mut parts = description.split(',');
        let class = parts.next().unwrap_or_default();
        let mut interceptor =
            Interceptor::named(class).map_err(|error| wrong(format!("a known class; {error}")))?;
        for attribute in parts {
            let (name, value) = attribute
                .split_once('=')
                .ok_or_else(|| wrong("Class,attribute=value;Class2".to_owned()))?;
            interceptor
                .set_attribute(name, value)
                .map_err(|error| wrong(format!("known attributes; {error}")))?;
        }
        Ok(interceptor)
    };
    text.split(';')
        .map(str::trim)
        .filter(|description| !description.is_empty())
        .map(one)
        .collect()
}

fn contexts(env: &Reader<'_>) -> Result<Vec<Context>, BadVariable> {
    let names = env
        .text("PROBE_CONTEXTS")
        .unwrap_or_else(|| "ROOT".to_owned());
    let mut contexts: Vec<Context> = Vec::new();
    for name in names.split_whitespace() {
        let path = if name == "ROOT" {
            String::new()
        } else {
            format!("/{name}")
        };
        let plain = name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        let context = Context { path };
        if !plain || contexts.contains(&context) {
            let expected =
                "different names of letters and digits, separated by spaces; ROOT for the root";
            return Err(bad("PROBE_CONTEXTS", name.to_owned(), expected));
        }
        contexts.push(context);
    }
    Ok(contexts)
}

#[cfg(test)]
mod tests {
    use folkmoot::interceptor::{EncryptInterceptor, GzipInterceptor};

    use super::*;

    fn read(variables: &[(&str, &str)]) -> Result<Environment, BadVariable> {
        Environment::from_lookup(&|name| {
            let found = variables
                .iter()
                .rev()
                .find(|(variable, _)| *variable == name);
            found.map(|(_, value)| (*value).to_owned())
        })
    }

    #[test]
    fn what_is_not_set_has_tomcats_defaults() {
        let env = read(&[]).unwrap();
        assert_eq!(env.name, "n1");
        assert_eq!(env.http, "127.0.0.1:8081".parse().unwrap());
        assert_eq!(env.receiver, "127.0.0.1:4000".parse().unwrap());
        assert_eq!(env.send_options, "8".parse().unwrap());
        assert_eq!(env.map_send_options, "6".parse().unwrap());
        assert_eq!(env.manager, Manager::Delta);
        assert!(!env.replicated_context);
        assert_eq!(
            env.contexts,
            [Context {
                path: String::new()
            }]
        );
        assert!(env.jvm_route_valve);
        let Membership::Multicast {
            address,
            port,
            bind,
            frequency,
            drop_time,
        } = env.membership
        else {
            panic!("multicast");
        };
        assert_eq!(
            (address.to_string().as_str(), port, bind),
            ("228.0.0.4", 45564, None)
        );
        assert_eq!((frequency.as_millis(), drop_time.as_millis()), (500, 3000));
    }

    #[test]
    fn static_members_come_with_their_ids() {
        let id = "0123456789abcdef0123456789abcdef";
        let list = format!("127.0.0.1:4001:{id}, 127.0.0.2:4002:{id}");
        let env = read(&[
            ("PROBE_MEMBERSHIP", "static"),
            ("PROBE_STATIC_MEMBERS", &list),
        ])
        .unwrap();
        let member = |address: &str| (address.parse().unwrap(), id.parse().unwrap());
        assert_eq!(
            env.membership,
            Membership::Static(vec![member("127.0.0.1:4001"), member("127.0.0.2:4002")])
        );
    }

    #[test]
    fn interceptors_keep_their_order_and_attributes() {
        let key = "000102030405060708090a0b0c0d0e0f";
        let text = format!(
            " EncryptInterceptor,encryptionKey={key} ; GzipInterceptor,compressionMinSize=7;"
        );
        let env = read(&[("PROBE_INTERCEPTORS", &text)]).unwrap();
        let gzip = GzipInterceptor {
            compression_min_size: 7,
            ..GzipInterceptor::default()
        };
        let expected = [EncryptInterceptor::new(key).into(), gzip.into()];
        assert_eq!(env.interceptors, expected);
        let error = read(&[("PROBE_INTERCEPTORS", "ZipInterceptor")]).unwrap_err();
        assert!(
            error
                .to_string()
                .contains("EncryptInterceptor, GzipInterceptor")
        );
    }

    #[test]
    fn every_variable_that_makes_no_sense_is_named() {
        #[rustfmt::skip]
        let cases: &[(&str, &str)] = &[
            ("PROBE_DRIVER", "epoll"),
            ("PROBE_RING", "maybe"),
            ("PROBE_HTTP_PORT", "http"),
            ("PROBE_HTTP_HOST", "localhost:1"),
            ("PROBE_CLUSTER_PORT", "70000"),
            ("PROBE_NODE", "n1"),
            ("PROBE_NODES", "two"),
            ("PROBE_MEMBERSHIP", "dns"),
            ("PROBE_MCAST_ADDR", "228"),
            ("PROBE_MCAST_BIND", "eth0"),
            ("PROBE_MCAST_FREQ_MS", "-1"),
            ("PROBE_UNIQUE_ID", "12"),
            ("PROBE_MANAGER", "persistent"),
            ("PROBE_SEND_OPTIONS", "fast"),
            ("PROBE_MAP_SEND_OPTIONS", "fast"),
            ("PROBE_CONTEXTS", "a/b"),
            ("PROBE_CONTEXTS", "ROOT ROOT"),
            ("PROBE_CTX_REPLICATED", "perhaps"),
            ("PROBE_JVMROUTE_VALVE", "maybe"),
            ("PROBE_INTERCEPTORS", "ZipInterceptor"),
            ("PROBE_INTERCEPTORS", "GzipInterceptor,level=9"),
            ("PROBE_INTERCEPTORS", "GzipInterceptor,compressionMinSize"),
            ("PROBE_INTERCEPTORS", "OrderInterceptor;FragmentationInterceptor,maxSize=much"),
            ("PROBE_BG_DELAY_S", "soon"),
            ("PROBE_EXPIRE_FREQ", "x"),
        ];
        for case @ (variable, _) in cases {
            let error = read(&[*case]).expect_err(variable);
            assert_eq!(&error.variable, variable);
            assert!(error.to_string().contains(variable) && error.to_string().contains("expected"));
        }
    }
}
