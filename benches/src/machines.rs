//! Two channels, and two clusters, joined by memory: what the machines cost a message, without an operating system.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::channel::{
    Body, Channel, ChannelConfig, ChannelEngine, ChannelListener, Inbound, Lane, MemberIndex,
    MembershipConfig, SendOptions, StaticConfig, StaticMember, To, UniqueId, Verdict,
};
use folkmoot_core::cluster::{
    Cluster, ClusterConfig, ClusterError, ContextId, ReplicatedContextConfig,
};
use folkmoot_core::java::ValueRef;
use folkmoot_core::session::{BackupManagerConfig, DeltaManagerConfig, EventType, SessionId};
use folkmoot_core::time::Instant;

use crate::Result;
use crate::pipe::Pipe;

/// Messages sent before bytes move: what a socket read would bring.
pub const BATCH: usize = 100;

/// Counts what it receives.
#[derive(Debug, Default)]
pub struct Counter(u64);

impl ChannelListener for Counter {
    fn message_received(&mut self, _: Instant, _: &Inbound<'_>) -> Verdict {
        self.0 += 1;
        Verdict::Processed
    }
}

/// Where the two of a [`Pipe`] listen.
pub fn addresses() -> [SocketAddr; 2] {
    [4001, 4002].map(|port| ([127, 0, 0, 1], port).into())
}

/// The channel of one of the two.
///
/// # Errors
/// Never, with these settings.
pub fn channel(number: usize) -> Result<Channel> {
    let members: Vec<_> = addresses()
        .into_iter()
        .enumerate()
        .map(|(number, address)| StaticMember::new(address, UniqueId([number as u8; 16])))
        .collect();
    let mut config = ChannelConfig::new(addresses()[number]);
    config.unique_id = Some(members[number].unique_id);
    config.membership = MembershipConfig::Static(StaticConfig {
        members,
        ..StaticConfig::default()
    });
    Ok(Channel::new(config, [number as u8; 32], Instant::ZERO, 0)?)
}

/// Two channels that know each other.
#[derive(Debug)]
pub struct Channels {
    pipe: Pipe<ChannelEngine<Counter>>,
    now: Instant,
    member: MemberIndex,
    sent: u64,
}

impl Channels {
    /// Starts them and lets them find each other.
    ///
    /// # Errors
    /// They do not.
    pub fn new() -> Result<Self> {
        let engine =
            |number| channel(number).map(|channel| ChannelEngine::new(channel, Counter::default()));
        let mut pipe = Pipe::new([engine(0)?, engine(1)?], addresses());
        let mut now = Instant::ZERO;
        for side in [0, 1] {
            pipe.with(side, |engine| engine.channel.start(now));
        }
        // Long enough for the checks by which the members find each other.
        for _ in 0..50 {
            now = now + Duration::from_millis(100);
            pipe.tick(now);
        }
        let found = pipe.with(0, |engine| {
            let (index, _) = engine.channel.members().next()?;
            engine.channel.is_ours(index).then_some(index)
        });
        Ok(Self {
            pipe,
            now,
            member: found.ok_or("the members do not know each other")?,
            sent: 0,
        })
    }

    /// Sends [`BATCH`] messages from the first to the second and moves bytes until all is delivered and answered.
    ///
    /// # Errors
    /// One was not sent, or has not arrived.
    pub fn batch(&mut self, options: u32, body: &[u8]) -> Result<()> {
        let (now, to) = (self.now, To::Member(self.member));
        let options = SendOptions::from_bits(options);
        self.pipe.with(0, |engine| {
            (0..BATCH).try_for_each(|_| {
                let body = Body::Borrowed(body);
                let sent = engine.channel.send(now, to, options, Lane::Any, body);
                sent.map(|_| ())
            })
        })?;
        self.sent += BATCH as u64;
        self.pipe.settle(now);
        self.pipe
            .with(0, |engine| while engine.channel.poll_event().is_some() {});
        match self.pipe.with(1, |engine| engine.listener.0) == self.sent {
            true => Ok(()),
            false => Err("not all have arrived".into()),
        }
    }
}

/// Two clusters that share a session.
#[derive(Debug)]
pub struct Clusters {
    pipe: Pipe<Cluster>,
    now: Instant,
    contexts: [ContextId; 2],
    session: SessionId,
    number: u64,
    /// What the attribute was set to last.
    text: String,
}

const FILL: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/// 1 KiB that begins with a number.
fn write_value(text: &mut String, number: u64) {
    text.clear();
    // A string is never full.
    let _ = write!(text, "{number} ");
    text.extend([FILL; 16]);
    text.truncate(1024);
}

const SHOP: &str = "/shop";

/// Two started clusters that share what `register` adds, and have found each other.
fn clusters(
    register: impl Fn(&mut Cluster, Instant) -> std::result::Result<ContextId, ClusterError>,
) -> Result<(Pipe<Cluster>, Instant, [ContextId; 2])> {
    let engine =
        |number| channel(number).map(|channel| Cluster::new(channel, ClusterConfig::default()));
    let mut pipe = Pipe::new([engine(0)?, engine(1)?], addresses());
    let mut now = Instant::ZERO;
    let mut add = |side| {
        pipe.with(side, |cluster| {
            cluster.start(now);
            register(cluster, now)
        })
    };
    let contexts = [add(0)?, add(1)?];
    for _ in 0..100 {
        now = now + Duration::from_millis(100);
        pipe.tick(now);
    }
    Ok((pipe, now, contexts))
}

impl Clusters {
    /// Starts them, with one session that both hold.
    ///
    /// # Errors
    /// The context cannot be registered, or there is no room for a session.
    pub fn new() -> Result<Self> {
        Self::with(|cluster, now| {
            cluster.register_manager(now, SHOP, DeltaManagerConfig::default())
        })
    }

    /// The same with backup managers: the session is primary on the first, its backup on the second.
    ///
    /// # Errors
    /// As [`new`](Self::new).
    pub fn with_backup_managers() -> Result<Self> {
        Self::with(|cluster, now| {
            cluster.register_backup_manager(now, SHOP, BackupManagerConfig::default())
        })
    }

    fn with(
        register: impl Fn(&mut Cluster, Instant) -> std::result::Result<ContextId, ClusterError>,
    ) -> Result<Self> {
        let (mut pipe, now, contexts) = clusters(register)?;
        let session = pipe.with(0, |cluster| cluster.create_session(now, contexts[0], None))?;
        pipe.settle(now);
        Ok(Self {
            pipe,
            now,
            contexts,
            session,
            number: 0,
            text: String::new(),
        })
    }

    /// How the first sends from now on.
    pub fn set_options(&mut self, options: u32) {
        let options = SendOptions::from_bits(options);
        self.pipe
            .with(0, |cluster| cluster.set_channel_send_options(options));
    }

    /// Runs a command about the session on the first and moves bytes until the second has applied what it sends.
    fn request(
        &mut self,
        command: impl FnOnce(&mut Cluster, Instant, ContextId, &SessionId, &str) -> Result<()>,
    ) -> Result<()> {
        let (now, context, session) = (self.now, self.contexts[0], &self.session);
        let text = self.text.as_str();
        self.pipe.with(0, |cluster| -> Result<()> {
            command(cluster, now, context, session, text)?;
            cluster.request_completed(now, context, session)?;
            Ok(())
        })?;
        self.pipe.settle(now);
        for side in [0, 1] {
            self.pipe
                .with(side, |cluster| while cluster.poll_event().is_some() {});
        }
        Ok(())
    }

    /// Changes 1 KiB of the session on the first, in the memory of what was there.
    ///
    /// # Errors
    /// The session or the other member is gone.
    pub fn change(&mut self) -> Result<()> {
        self.number += 1;
        write_value(&mut self.text, self.number);
        self.request(|cluster, now, context, session, text| {
            cluster.write_attribute(now, context, session, "cart", text)?;
            Ok(())
        })
    }

    /// As [`change`](Self::change), as a whole request does it: joins the session, changes it, sends, leaves it.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn use_and_change(&mut self) -> Result<()> {
        self.number += 1;
        write_value(&mut self.text, self.number);
        self.request(|cluster, now, context, session, text| {
            cluster.access_session(now, context, session);
            cluster.write_attribute(now, context, session, "cart", text)?;
            Ok(())
        })?;
        let (now, context, session) = (self.now, self.contexts[0], &self.session);
        self.pipe
            .with(0, |cluster| cluster.end_access(now, context, session));
        Ok(())
    }

    /// Changes 1 KiB of the session on the first, with a value that the application has made.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn change_owned(&mut self) -> Result<()> {
        self.number += 1;
        write_value(&mut self.text, self.number);
        self.request(|cluster, now, context, session, text| {
            cluster.set_attribute(now, context, session, "cart", text)?;
            Ok(())
        })
    }

    /// Adds an attribute and removes it again, in two requests.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn add_and_remove(&mut self) -> Result<()> {
        self.request(|cluster, now, context, session, text| {
            cluster.write_attribute(now, context, session, "coupon", text)?;
            Ok(())
        })?;
        self.request(|cluster, now, context, session, _| {
            cluster.write_attribute(now, context, session, "coupon", ValueRef::Null)?;
            Ok(())
        })
    }

    /// A request that changes nothing: a delta that says only that the session is not new.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn look(&mut self) -> Result<()> {
        self.request(|cluster, now, context, session, _| {
            cluster.access_session(now, context, session);
            cluster.end_access(now, context, session);
            Ok(())
        })
    }

    /// From now on every request says that the session was used, even if it has changed nothing.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn tell_every_use(&mut self) -> Result<()> {
        self.request(|cluster, now, context, session, _| {
            cluster.set_max_inactive_interval(now, context, session, 0)?;
            Ok(())
        })
    }

    /// The end of a request that neither joined the session nor changed it, one millisecond later: ACCESSED if
    /// [`tell_every_use`](Self::tell_every_use) was said.
    ///
    /// # Errors
    /// As [`change`](Self::change).
    pub fn touch(&mut self) -> Result<()> {
        self.now = self.now + Duration::from_millis(1);
        self.request(|_, _, _, _, _| Ok(()))
    }

    /// How many messages of a kind the second has received.
    pub fn received(&mut self, kind: EventType) -> u64 {
        let context = self.contexts[1];
        self.pipe.with(1, |cluster| {
            let manager = cluster.manager(context);
            manager.map_or(0, |manager| manager.stats().received.get(kind))
        })
    }

    /// Whether the second has what the first set last, and nothing of what it has removed.
    pub fn agree(&mut self) -> bool {
        let (context, session) = (self.contexts[1], &self.session);
        let [cart, coupon] = ["cart", "coupon"].map(|name| {
            self.pipe
                .with(1, |cluster| cluster.attribute(context, session, name))
        });
        let arrived = cart.and_then(|value| value.as_string());
        coupon.is_none() && arrived.is_some_and(|arrived| arrived.to_string_lossy() == self.text)
    }
}

/// Two clusters that share the attributes of an application, in a map that is whole on every node.
#[derive(Debug)]
pub struct Attributes {
    pipe: Pipe<Cluster>,
    now: Instant,
    contexts: [ContextId; 2],
    number: u64,
    text: String,
}

impl Attributes {
    /// Starts them.
    ///
    /// # Errors
    /// The context cannot be registered.
    pub fn new() -> Result<Self> {
        let (pipe, now, contexts) = clusters(|cluster, now| {
            cluster.register_context(now, SHOP, ReplicatedContextConfig::default())
        })?;
        Ok(Self {
            pipe,
            now,
            contexts,
            number: 0,
            text: String::new(),
        })
    }

    /// Puts 1 KiB under one of `keys` names on the first and moves bytes until the second has it.
    pub fn put(&mut self, keys: u64) {
        self.number += 1;
        write_value(&mut self.text, self.number);
        let name = self.name(keys);
        let (now, context, text) = (self.now, self.contexts[0], self.text.as_str());
        self.pipe.with(0, |cluster| {
            cluster.set_context_attribute(now, context, &name, text);
        });
        self.pipe.settle(now);
        for side in [0, 1] {
            self.pipe
                .with(side, |cluster| while cluster.poll_event().is_some() {});
        }
    }

    fn name(&self, keys: u64) -> String {
        format!("stock {}", self.number % keys)
    }

    /// Whether the second has what the first put last.
    pub fn agree(&mut self, keys: u64) -> bool {
        let (name, context, text) = (self.name(keys), self.contexts[1], &self.text);
        self.pipe.with(1, |cluster| {
            let value = cluster
                .context(context)
                .and_then(|map| map.attribute(&name));
            let arrived = value.and_then(|value| value.as_string());
            arrived.is_some_and(|arrived| arrived.to_string_lossy() == *text)
        })
    }
}
