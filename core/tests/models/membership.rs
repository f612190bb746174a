//! A channel's membership against a table of who has been heard of.
//!
//! The model knows no connections, frames or timers. It is a list of entries with a stage and the state of their check, and a
//! dozen rules about them. The walk decides what arrives, when, and what becomes of each check.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use folkmoot_core::channel::{
    Channel, ChannelConfig, ChannelEvent, ChannelListener, Inbound, Member, MemberIndex,
    MembershipConfig, SendOptions, StaticConfig, StaticMember, UniqueId, Verdict,
};
use folkmoot_core::engine::{CloseReason, ConnId, Gather, Input, Output};
use folkmoot_core::time::Instant;
use folkmoot_core::wire::ChannelData;
use folkmoot_core::wire::control::{MEMBER_START, MEMBER_STOP};
use proptest::prelude::*;
use proptest_state_machine::{ReferenceStateMachine, StateMachineTest, prop_state_machine};

/// Times of the defaults, milliseconds.
const FREQUENCY: u64 = 500;
const DROP_TIME: u64 = 3000;
const CHECK_TIMEOUT: u64 = 1000;
const CHECK_EVERY: u64 = 1000;
const PING_EVERY: u64 = 1000;
const HOUSEKEEPING: u64 = 5000;
const GUEST_TIME: u64 = 60_000;
/// Shorter than the default, so that walks get there.
const REMOVE_SUSPECTS: u64 = 4000;
/// When a walk begins.
const BEGIN: u64 = 10_000;

/// Somebody: a port, an incarnation, and whether it is of another domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Who {
    port: u16,
    incarnation: u8,
    foreign: bool,
}

impl Who {
    fn address(self) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], self.port))
    }

    fn unique_id(self) -> UniqueId {
        let mut id = [self.incarnation; 16];
        id[15] = self.port as u8;
        UniqueId(id)
    }

    fn member(self) -> Member {
        let mut member = Member::new(self.address(), self.unique_id());
        if self.foreign {
            member.domain = b"elsewhere".to_vec();
        }
        member
    }

    fn of(member: &Member) -> Self {
        Self {
            port: member.port as u16,
            incarnation: member.unique_id.as_bytes()[0],
            foreign: !member.domain.is_empty(),
        }
    }

    /// The first incarnation at a port is the configured one.
    const fn is_configured(self) -> bool {
        self.incarnation == 1 && !self.foreign
    }
}

/// What happens to the channel.
#[derive(Clone, Debug)]
enum Step {
    /// A heartbeat of a member that has lived for so long.
    Beat(Who, u64),
    /// A goodbye of a member that has lived for so long.
    Goodbye(Who, u64),
    /// A message on the sender's connection.
    Says(Who, Word),
    /// The sender's connection ends.
    Breaks(Who),
    /// Whatever is being checked at a port is answered.
    Answer { port: u16, accepts: bool },
    /// Time passes, and the channel is woken whenever it wants to be.
    Wait(u64),
    /// Time passes without the channel's notice.
    Sleep(u64),
    /// Somebody sets the wall clock.
    Clock(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    Anything,
    Start,
    Stop,
}

/// How far an entry has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Candidate,
    Member { doubted_since: Option<u64> },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    None,
    At(u64),
    /// The `number`th check, to be answered by `until`.
    Asked {
        number: u32,
        until: u64,
    },
}

#[derive(Clone, Copy, Debug)]
struct Known {
    who: Who,
    stage: Stage,
    check: Check,
    heard: u64,
    beats: u32,
    /// A configured one that has said STOP is not believed until then.
    stopped_until: u64,
    /// Different for every entry there ever was.
    serial: u32,
}

impl Known {
    const fn doubted(&self) -> bool {
        matches!(
            self.stage,
            Stage::Member {
                doubted_since: Some(_)
            }
        )
    }

    const fn is_member(&self) -> bool {
        matches!(self.stage, Stage::Member { .. })
    }

    const fn is_asked(&self) -> bool {
        matches!(self.check, Check::Asked { .. })
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    Added(Who),
    Gone(Who),
}

/// The table, and what is due.
#[derive(Clone, Debug)]
struct Model {
    /// Whether members are configured, not announced by multicast.
    fixed: bool,
    now: u64,
    next_beat: Option<u64>,
    next_ping: Option<u64>,
    next_housekeeping: u64,
    /// A new entry takes the first free place; where nothing else decides, the first place comes first.
    places: Vec<Option<Known>>,
    goodbyes: Vec<(Who, u64, u64)>,
    /// Connections that have brought a message, and the entry that it was of.
    said: BTreeMap<Who, u32>,
    news: Vec<News>,
    checks: u32,
    serials: u32,
}

impl Model {
    fn new(fixed: bool) -> Self {
        let mut model = Self {
            fixed,
            now: BEGIN,
            next_beat: (!fixed).then_some(BEGIN + FREQUENCY),
            next_ping: fixed.then_some(BEGIN + PING_EVERY),
            next_housekeeping: BEGIN + HOUSEKEEPING,
            places: Vec::new(),
            goodbyes: Vec::new(),
            said: BTreeMap::new(),
            news: Vec::new(),
            checks: 0,
            serials: 0,
        };
        if fixed {
            for who in configured() {
                let place = model.add(who);
                model.want_check(place, BEGIN);
            }
        }
        model
    }

    fn is_fixed(&self, who: Who) -> bool {
        self.fixed && who.is_configured()
    }

    fn entries(&self) -> impl Iterator<Item = (usize, &Known)> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(place, known)| Some((place, known.as_ref()?)))
    }

    fn find(&self, who: Who) -> Option<usize> {
        (self.entries().find(|(_, known)| known.who == who)).map(|(place, _)| place)
    }

    fn at(&mut self, place: usize) -> &mut Known {
        self.places[place].as_mut().expect("an entry")
    }

    fn add(&mut self, who: Who) -> usize {
        let free = self.places.iter().position(Option::is_none);
        let place = free.unwrap_or(self.places.len());
        if place == self.places.len() {
            self.places.push(None);
        }
        self.serials += 1;
        self.places[place] = Some(Known {
            who,
            stage: Stage::Candidate,
            check: Check::None,
            heard: self.now,
            beats: 0,
            stopped_until: 0,
            serial: self.serials,
        });
        place
    }

    /// A check at `at`, or earlier if one is wanted already.
    fn want_check(&mut self, place: usize, at: u64) {
        let known = self.at(place);
        known.check = match known.check {
            Check::Asked { .. } => return,
            Check::At(earlier) => Check::At(earlier.min(at)),
            Check::None => Check::At(at),
        };
        self.ask();
    }

    /// Starts what is due: the doubted first, then the configured, then those heard of more than once.
    fn ask(&mut self) {
        loop {
            let due = self.entries().filter_map(|(place, known)| {
                let rank = match known {
                    _ if known.doubted() => 0,
                    _ if self.is_fixed(known.who) => 1,
                    _ if known.beats > 1 => 2,
                    _ => 3,
                };
                match known.check {
                    Check::At(at) if at <= self.now => Some((rank, at, place)),
                    _ => None,
                }
            });
            let Some((_, _, place)) = due.min() else {
                return;
            };
            self.checks += 1;
            let (number, until) = (self.checks, self.now + CHECK_TIMEOUT);
            self.at(place).check = Check::Asked { number, until };
        }
    }

    /// There is reason to doubt: a member is checked at once.
    fn doubt(&mut self, place: usize) {
        let now = self.now;
        if let Stage::Member { doubted_since } = &mut self.at(place).stage {
            doubted_since.get_or_insert(now);
            self.want_check(place, now);
        }
    }

    fn gone(&mut self, place: usize) {
        let Some(known) = self.places[place].take() else {
            return;
        };
        if self.is_fixed(known.who) {
            let again = self.add(known.who);
            self.at(again).stopped_until = known.stopped_until;
        }
        if known.is_member() {
            self.news.push(News::Gone(known.who));
        }
        self.ask();
    }

    fn beat(&mut self, who: Who, lived: u64) {
        if self.fixed || who.foreign {
            return;
        }
        let overtaken = self.goodbyes.iter().any(|(gone, at_age, until)| {
            let before = at_age.checked_sub(lived);
            *gone == who && *until > self.now && before.is_some_and(|ms| ms <= 2 * FREQUENCY)
        });
        let place = match self.find(who) {
            Some(place) => place,
            None if overtaken => return,
            None => self.add(who),
        };
        let now = self.now;
        let known = self.at(place);
        known.heard = now;
        known.beats += 1;
        match known.stage {
            Stage::Member { doubted_since } => {
                // The doubt is over, and so is a check that has not begun. One that has begun still decides.
                if doubted_since.is_some() && !known.is_asked() {
                    known.check = Check::None;
                }
                known.stage = Stage::Member {
                    doubted_since: None,
                };
            }
            Stage::Candidate if known.check == Check::None => self.want_check(place, now),
            Stage::Candidate => {}
        }
    }

    fn goodbye(&mut self, who: Who, lived: u64) {
        if self.fixed || who.foreign {
            return;
        }
        self.goodbyes.push((who, lived, self.now + 2 * FREQUENCY));
        if let Some(place) = self.find(who) {
            self.gone(place);
        }
    }

    fn says(&mut self, who: Who, word: Word) {
        let place = match self.find(who) {
            Some(place) => place,
            None if who.foreign => return,
            None => self.add(who),
        };
        let now = self.now;
        let known = self.at(place);
        known.heard = now;
        let (serial, member) = (known.serial, known.is_member());
        self.said.insert(who, serial);
        if !self.is_fixed(who) {
            return;
        }
        match word {
            Word::Start if !member => {
                self.at(place).stopped_until = 0;
                self.want_check(place, now);
            }
            Word::Stop => {
                self.gone(place);
                if let Some(place) = self.find(who) {
                    self.at(place).stopped_until = now + 2 * PING_EVERY;
                }
            }
            Word::Start | Word::Anything => {}
        }
    }

    fn breaks(&mut self, who: Who) {
        let said = self.said.remove(&who);
        let place = self.find(who);
        if let Some(place) = place.filter(|place| Some(self.at_ref(*place).serial) == said) {
            self.doubt(place);
        }
    }

    fn at_ref(&self, place: usize) -> &Known {
        self.places[place].as_ref().expect("an entry")
    }

    fn answer(&mut self, port: u16, accepts: bool) {
        let mut asked: Vec<_> = (self.entries())
            .filter(|(_, known)| known.who.port == port)
            .filter_map(|(place, known)| match known.check {
                Check::Asked { number, .. } => Some((number, place)),
                _ => None,
            })
            .collect();
        asked.sort_unstable();
        for (number, place) in asked {
            self.answered(place, number, accepts);
        }
    }

    fn answered(&mut self, place: usize, number: u32, accepts: bool) {
        let Some(known) = &mut self.places[place] else {
            return;
        };
        match known.check {
            Check::Asked { number: asked, .. } if asked == number => known.check = Check::None,
            _ => return,
        }
        if accepts {
            self.passed(place);
        } else {
            self.failed(place);
        }
        self.ask();
    }

    fn failed(&mut self, place: usize) {
        let again = self.now + CHECK_EVERY;
        let known = self.at(place);
        if known.is_member() {
            self.gone(place);
        } else if known.beats > 0 {
            self.want_check(place, again);
        }
    }

    fn passed(&mut self, place: usize) {
        let (now, fixed) = (self.now, self.is_fixed(self.at_ref(place).who));
        let known = self.at(place);
        if fixed {
            known.heard = now;
        }
        match known.stage {
            Stage::Candidate if now < known.stopped_until => {}
            Stage::Candidate => self.verified(place),
            // Nobody hears a configured member but through its checks; any other one has to say something.
            Stage::Member {
                doubted_since: Some(since),
            } if !fixed && known.heard <= since => {
                let again = match now - since > REMOVE_SUSPECTS {
                    true => HOUSEKEEPING,
                    false => CHECK_EVERY,
                };
                self.want_check(place, now + again);
            }
            Stage::Member { .. } => {
                known.stage = Stage::Member {
                    doubted_since: None,
                }
            }
        }
    }

    /// One that has passed its check is a member, unless another incarnation at its address still is one that lives.
    fn verified(&mut self, place: usize) {
        let patience = match self.fixed {
            true => CHECK_EVERY,
            false => 2 * FREQUENCY,
        };
        let (now, who) = (self.now, self.at_ref(place).who);
        let rival = self
            .entries()
            .find(|(other, known)| {
                *other != place && known.is_member() && known.who.port == who.port
            })
            .map(|(other, known)| (other, known.doubted() || now - known.heard > patience));
        match rival {
            Some((_, false)) => return self.want_check(place, now + patience / 2),
            Some((rival, true)) => self.gone(rival),
            None => {}
        }
        self.at(place).stage = Stage::Member {
            doubted_since: None,
        };
        self.news.push(News::Added(who));
    }

    /// The first time at which something is due.
    fn due(&self) -> u64 {
        let checks = self.entries().filter_map(|(_, known)| match known.check {
            Check::None => None,
            Check::At(at) | Check::Asked { until: at, .. } => Some(at),
        });
        let rounds = [self.next_beat, self.next_ping, Some(self.next_housekeeping)];
        let all = checks.chain(rounds.into_iter().flatten());
        all.min().expect("housekeeping is always planned")
    }

    fn wait(&mut self, until: u64) {
        while self.due() <= until {
            self.now = self.due();
            self.wake();
        }
        self.now = until;
    }

    fn sleep(&mut self, until: u64) {
        self.now = until;
        while self.due() <= self.now {
            self.wake();
        }
    }

    fn wake(&mut self) {
        let now = self.now;
        if let Some(due) = self.next_beat.filter(|at| *at <= now) {
            self.look_for_silence(now - due);
            self.next_beat = Some(match due + FREQUENCY {
                next if next > now => next,
                _ => now + FREQUENCY,
            });
        }
        if self.next_ping.is_some_and(|at| at <= now) {
            self.next_ping = Some(now + PING_EVERY);
            for place in 0..self.places.len() {
                let known = self.places[place];
                if known.is_some_and(|known| self.is_fixed(known.who)) {
                    self.want_check(place, now);
                }
            }
        }
        if self.next_housekeeping <= now {
            self.next_housekeeping = now + HOUSEKEEPING;
            let fixed = self.fixed;
            for place in &mut self.places {
                place.take_if(|known| {
                    let stays = known.is_member() || fixed && known.who.is_configured();
                    !stays && !known.is_asked() && now - known.heard > GUEST_TIME
                });
            }
        }
        for place in 0..self.places.len() {
            if let Some(Known {
                check: Check::Asked { number, until },
                ..
            }) = self.places[place]
                && until <= now
            {
                self.answered(place, number, false);
            }
        }
        self.ask();
    }

    /// While we slept nobody could be heard. Who has been silent for too long is doubted, or forgotten.
    fn look_for_silence(&mut self, late: u64) {
        let now = self.now;
        for known in self.places.iter_mut().flatten() {
            if late > DROP_TIME / 2 {
                known.heard = now.min(known.heard + late);
            }
        }
        let silent = |known: &Known| now - known.heard > DROP_TIME;
        for place in &mut self.places {
            place.take_if(|known| {
                silent(known) && !known.is_member() && known.beats > 0 && !known.is_asked()
            });
        }
        for place in 0..self.places.len() {
            let known = self.places[place];
            if known.is_some_and(|known| silent(&known) && known.is_member() && !known.doubted()) {
                self.doubt(place);
            }
        }
    }
}

fn configured() -> [Who; 2] {
    [5000, 5001].map(|port| Who {
        port,
        incarnation: 1,
        foreign: false,
    })
}

fn anybody() -> impl Strategy<Value = Who> {
    let port = prop_oneof![Just(5000), Just(5001)];
    // The last one is of another domain.
    let incarnation = prop_oneof![12 => Just(1u8), 8 => Just(2), 1 => Just(3)];
    (port, incarnation).prop_map(|(port, incarnation)| Who {
        port,
        incarnation,
        foreign: incarnation == 3,
    })
}

impl ReferenceStateMachine for Model {
    type State = Self;
    type Transition = Step;

    fn init_state() -> BoxedStrategy<Self> {
        any::<bool>().prop_map(Self::new).boxed()
    }

    fn transitions(_: &Self) -> BoxedStrategy<Step> {
        let lived = || prop_oneof![Just(0u64), Just(400), Just(1000), Just(1400), Just(9000)];
        let word = prop_oneof![Just(Word::Anything), Just(Word::Start), Just(Word::Stop)];
        let port = prop_oneof![Just(5000), Just(5001)];
        let accepts = prop::bool::weighted(0.75);
        // Tenths of a second: what is due at the same instant, is so often.
        let short = (1..40u64).prop_map(|tenths| tenths * 100);
        prop_oneof![
            8 => (anybody(), lived()).prop_map(|(who, lived)| Step::Beat(who, lived)),
            1 => (anybody(), lived()).prop_map(|(who, lived)| Step::Goodbye(who, lived)),
            3 => (anybody(), word).prop_map(|(who, word)| Step::Says(who, word)),
            2 => anybody().prop_map(Step::Breaks),
            8 => (port, accepts).prop_map(|(port, accepts)| Step::Answer { port, accepts }),
            6 => short.clone().prop_map(Step::Wait),
            1 => Just(Step::Wait(61_000)),
            1 => short.prop_map(Step::Sleep),
            1 => (0..4_000_000_000_000u64).prop_map(Step::Clock),
        ]
        .boxed()
    }

    fn apply(mut state: Self, step: &Step) -> Self {
        state.news.clear();
        match *step {
            Step::Beat(who, lived) => state.beat(who, lived),
            Step::Goodbye(who, lived) => state.goodbye(who, lived),
            Step::Says(who, word) => state.says(who, word),
            Step::Breaks(who) => state.breaks(who),
            Step::Answer { port, accepts } => state.answer(port, accepts),
            Step::Wait(ms) => state.wait(state.now + ms),
            Step::Sleep(ms) => state.sleep(state.now + ms),
            Step::Clock(_) => {}
        }
        state
    }
}

struct Deaf;

impl ChannelListener for Deaf {
    fn message_received(&mut self, _: Instant, _: &Inbound<'_>) -> Verdict {
        Verdict::Processed
    }
}

/// A real channel, and both ends of its connections.
struct Real {
    channel: Channel,
    now: u64,
    /// Checks that have not been answered, in the order they were asked.
    asked: Vec<(ConnId, u16)>,
    /// Connections that somebody has opened to us.
    open: BTreeMap<Who, ConnId>,
    names: BTreeMap<MemberIndex, Who>,
    news: Vec<News>,
}

impl Real {
    fn new(fixed: bool) -> Self {
        let mut config = ChannelConfig::new(SocketAddr::from(([10, 0, 0, 1], 4000)));
        config.failure_detector.remove_suspects_timeout = Duration::from_millis(REMOVE_SUSPECTS);
        if fixed {
            let member = |who: Who| StaticMember::new(who.address(), who.unique_id());
            config.membership = MembershipConfig::Static(StaticConfig {
                members: configured().map(member).into(),
                ..StaticConfig::default()
            });
        }
        let now = Instant::from_millis(BEGIN);
        let mut channel = Channel::new(config, [1; 32], now, 1_700_000_000_000).unwrap();
        channel.start(now);
        let mut real = Self {
            channel,
            now: BEGIN,
            asked: Vec::new(),
            open: BTreeMap::new(),
            names: BTreeMap::new(),
            news: Vec::new(),
        };
        real.settle();
        real
    }

    fn input(&mut self, input: Input<'_>) {
        let now = Instant::from_millis(self.now);
        self.channel.handle(now, input, &mut Deaf);
        self.settle();
    }

    fn pending(&self, conn: ConnId) -> usize {
        let mut gather = Gather::new();
        self.channel.transmit(conn, &mut gather);
        gather.len()
    }

    /// Does all that the channel wants. Its checks wait for an answer; everything else succeeds at once.
    fn settle(&mut self) {
        let now = Instant::from_millis(self.now);
        loop {
            while let Some(output) = self.channel.poll_output() {
                match output {
                    // A check has nothing to say before its connection stands.
                    Output::Connect { conn, to } if self.pending(conn) == 0 => {
                        self.asked.push((conn, to.port()));
                    }
                    Output::Connect { conn, .. } => {
                        let input = Input::Connected { conn };
                        self.channel.handle(now, input, &mut Deaf);
                    }
                    Output::Transmit { conn } | Output::Datagram { conn, .. } => {
                        let len = self.pending(conn);
                        self.channel.transmitted(now, conn, len);
                    }
                    Output::HalfClose { .. } => panic!("{output:?}: it listens to nobody"),
                    Output::Close { conn } | Output::Abort { conn } => {
                        self.asked.retain(|(asked, _)| *asked != conn);
                        assert!(!self.open.values().any(|open| *open == conn), "{output:?}");
                    }
                    Output::PauseRead { .. } | Output::ResumeRead { .. } => {}
                }
            }
            while let Some(event) = self.channel.poll_event() {
                match event {
                    ChannelEvent::MemberAdded(index) => {
                        let who = Who::of(self.channel.member(index).expect("it is here"));
                        self.names.insert(index, who);
                        self.news.push(News::Added(who));
                    }
                    ChannelEvent::MemberDisappeared(index) => {
                        let who = self.names.remove(&index).expect("it was announced");
                        self.news.push(News::Gone(who));
                    }
                    _ => {}
                }
            }
            if self.channel.poll_timeout().is_none_or(|at| at > now) {
                return;
            }
            self.channel.handle(now, Input::Timeout, &mut Deaf);
        }
    }

    fn datagram(&mut self, who: Who, lived: u64, command: &[u8]) {
        let mut member = who.member();
        member.alive_ms = lived as i64;
        member.command = command.to_vec();
        let mut bytes = Vec::new();
        member.write(&mut bytes).unwrap();
        let from = SocketAddr::from(([10, 0, 0, 1], 45564));
        self.input(Input::Datagram {
            from,
            bytes: &bytes,
        });
    }

    fn says(&mut self, who: Who, word: Word) {
        let now = Instant::from_millis(self.now);
        let channel = &mut self.channel;
        let from = SocketAddr::from(([10, 0, 0, 1], 50_000));
        let conn = *(self.open.entry(who))
            .or_insert_with(|| channel.accept(now, from).expect("there is room"));
        let message: &[u8] = match word {
            Word::Anything => b"anything",
            Word::Start => &MEMBER_START,
            Word::Stop => &MEMBER_STOP,
        };
        let mut address = Vec::new();
        who.member().write(&mut address).unwrap();
        let mut frame = Vec::new();
        let data = ChannelData {
            options: SendOptions::from_bits(0),
            timestamp_ms: 1,
            unique_id: &[7; 16],
            address: &address,
            message,
        };
        data.write_frame(&mut frame).unwrap();
        let bytes = &frame;
        self.input(Input::Received { conn, bytes });
    }

    fn answer(&mut self, port: u16, accepts: bool) {
        let asked = self.asked.clone();
        for (conn, _) in asked.into_iter().filter(|(_, at)| *at == port) {
            // What another answer has settled is closed.
            if !self.asked.iter().any(|(asked, _)| *asked == conn) {
                continue;
            }
            self.asked.retain(|(asked, _)| *asked != conn);
            let reason = CloseReason::Refused;
            self.input(match accepts {
                true => Input::Connected { conn },
                false => Input::Closed { conn, reason },
            });
        }
    }

    fn wait(&mut self, until: u64) {
        loop {
            let at = self
                .channel
                .poll_timeout()
                .map_or(u64::MAX, |at| at.as_nanos());
            // To the millisecond: all times of the channel are whole ones here.
            let at = at / 1_000_000;
            if at > until {
                self.now = until;
                return;
            }
            self.now = at;
            self.input(Input::Timeout);
        }
    }
}

struct Membership;

impl StateMachineTest for Membership {
    type SystemUnderTest = Real;
    type Reference = Model;

    fn init_test(model: &Model) -> Real {
        Real::new(model.fixed)
    }

    fn apply(mut real: Real, _: &Model, step: Step) -> Real {
        real.news.clear();
        match step {
            Step::Beat(who, lived) => real.datagram(who, lived, b""),
            Step::Goodbye(who, lived) => real.datagram(who, lived, b"BABY-ALEX"),
            Step::Says(who, word) => real.says(who, word),
            Step::Breaks(who) => {
                if let Some(conn) = real.open.remove(&who) {
                    let reason = CloseReason::Reset;
                    real.input(Input::Closed { conn, reason });
                }
            }
            Step::Answer { port, accepts } => real.answer(port, accepts),
            Step::Wait(ms) => real.wait(real.now + ms),
            Step::Sleep(ms) => {
                real.now += ms;
                real.settle();
            }
            Step::Clock(unix_ms) => {
                let now = Instant::from_millis(real.now);
                real.channel.set_wall_clock(now, unix_ms);
                real.settle();
            }
        }
        real
    }

    fn check_invariants(real: &Real, model: &Model) {
        assert_eq!(real.now, model.now);
        let channel = &real.channel;
        let mut members: Vec<_> = (channel.members())
            .map(|(index, member)| {
                let since = channel.suspected_since(index);
                (Who::of(member), since.map(|at| at.as_nanos() / 1_000_000))
            })
            .collect();
        members.sort_unstable();
        let mut expected: Vec<_> = (model.entries())
            .filter_map(|(_, known)| match known.stage {
                Stage::Member { doubted_since } => Some((known.who, doubted_since)),
                Stage::Candidate => None,
            })
            .collect();
        expected.sort_unstable();
        assert_eq!(
            members, expected,
            "members, and since when they are doubted"
        );
        let alone = members.windows(2).all(|two| two[0].0.port != two[1].0.port);
        assert!(alone, "one member to an address: {members:?}");

        let mut candidates: Vec<_> = (channel.candidates())
            .map(|(_, member)| Who::of(member))
            .collect();
        candidates.sort_unstable();
        let mut expected: Vec<_> = (model.entries())
            .filter(|(_, known)| !known.is_member())
            .map(|(_, known)| known.who)
            .collect();
        expected.sort_unstable();
        assert_eq!(candidates, expected, "heard of, and no members");

        let mut asked: Vec<_> = real.asked.iter().map(|(_, port)| *port).collect();
        asked.sort_unstable();
        let mut expected: Vec<_> = (model.entries())
            .filter(|(_, known)| known.is_asked())
            .map(|(_, known)| known.who.port)
            .collect();
        expected.sort_unstable();
        assert_eq!(asked, expected, "checks under way");
        assert_eq!(real.news, model.news);
    }
}

prop_state_machine! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 1000, ..ProptestConfig::default() })]

    #[test]
    fn the_members_are_those_of_the_table(sequential 1..80 => Membership);
}
