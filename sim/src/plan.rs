//! What one run is going to be: how many nodes, what network, which faults and when; drawn from the seed before it begins.

use std::time::Duration;

use crate::fault::{Fault, FaultKind};
use crate::link::NetworkConfig;
use crate::rng::SimRng;

/// What a run's plan may be drawn from.
#[derive(Clone, Debug, Default)]
pub struct PlanOptions {
    /// So many nodes, instead of a number drawn.
    pub nodes: Option<u16>,
    /// So long a time of faults, instead of a time drawn.
    pub safety: Option<Duration>,
    /// Nobody but our own nodes.
    pub plain: bool,
    /// As plans were when they knew less: strangers neither stand still nor crash nor leave answers unread, clients do what is
    /// common, and of interceptors there are those alone that change bytes. Seeds found then go on meaning what they meant.
    pub steady: bool,
    /// Only the faults and works with these places in the plan.
    pub keep: Option<Vec<usize>>,
}

/// One thing that the run does to the world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Its place in the whole plan, which it keeps when others are left out.
    pub place: usize,
    /// Virtual time since the world began.
    pub at: Duration,
    /// What it is.
    pub what: What,
}

/// A fault, or something that a user does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// Something goes wrong.
    Fault(Fault),
    /// A user does what the number decides: each has its own chance, so that leaving one out changes no other.
    Work(u64),
}

/// What one run is going to be.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it was drawn from.
    pub seed: u64,
    /// How many nodes there are.
    pub nodes: u16,
    /// Tomcats besides them.
    pub tomcats: u16,
    /// Whether somebody among them means no good.
    pub hostile: bool,
    /// Whether bare channels speak to each other as to Tomcats, over several connections, also if processes are held up.
    pub several: bool,
    /// Whether the queues of clusters are so short that they get full.
    pub tight: bool,
    /// Whether the one who means no good asks for more answers than it reads.
    pub greedy: bool,
    /// Whether bare channels may have any interceptors, in any order.
    pub layers: bool,
    /// Whether the nodes of clusters are configured with each other, instead of saying in heartbeats who they are.
    pub configured: bool,
    /// Whether the nodes of clusters read with several threads.
    pub readers: bool,
    /// What users do how often is drawn from this; `None` for what is common.
    pub mix: Option<u64>,
    /// Whether faults leave strangers alone in mode `maps`.
    pub steady: bool,
    /// How the network behaves during the time of faults.
    pub network: NetworkConfig,
    /// The kinds of faults that this run has at all.
    pub kinds: Vec<FaultKind>,
    /// What happens, in order of time.
    pub items: Vec<Item>,
    /// How long the time of faults is.
    pub safety: Duration,
    /// The longest plan's length: places are below it.
    pub places: usize,
}

impl Plan {
    /// The plan of a seed.
    pub fn draw(seed: u64, options: &PlanOptions) -> Self {
        let mut rng = SimRng::fork(seed, 2);
        let drawn_nodes = match rng.below(10) {
            0 => 1,
            1 | 2 => 2,
            3..=6 => 3,
            7 => 4,
            8 => 5,
            _ => rng.between(6, 9) as u16,
        };
        // Now and then many; --nodes makes it as many as one likes.
        let mut crowd = SimRng::fork(seed, 10);
        let drawn_nodes = match crowd.below(250) {
            0 if !options.plain => crowd.between(10, 40) as u16,
            _ => drawn_nodes,
        };
        let nodes = options.nodes.unwrap_or(drawn_nodes).clamp(1, 200);
        let drawn_safety = Duration::from_millis(rng.between(8_000, 40_000));
        let safety = options.safety.unwrap_or(drawn_safety);
        let network = draw_network(&mut rng);
        let mut guests = SimRng::fork(seed, 8);
        let (tomcats, hostile) = match guests.below(20) {
            _ if options.plain => (0, false),
            0..=2 => (1, false),
            3 => (2, false),
            4..=6 => (0, true),
            7 => (1, true),
            _ => (0, false),
        };
        let strangers = tomcats + u16::from(hostile);
        let new = !options.plain && !options.steady;
        let kinds: Vec<FaultKind> = match rng.below(8) {
            0 => Vec::new(),
            _ => FaultKind::ALL
                .into_iter()
                .filter(|_| rng.chance(400_000))
                .filter(|kind| (strangers > 0 && new) || !kind.is_of_strangers())
                .collect(),
        };
        let tight = SimRng::fork(seed, 13).chance(150_000) && !options.plain;
        let mut mixes = SimRng::fork(seed, 16);
        let mix = (mixes.chance(500_000) && new).then(|| mixes.next_u64());
        let layers = SimRng::fork(seed, 15).chance(300_000) && new;
        let greedy = SimRng::fork(seed, 17).chance(300_000) && new && hostile;
        let configured = SimRng::fork(seed, 19).chance(250_000) && new && strangers == 0;
        let readers = SimRng::fork(seed, 22).chance(250_000) && new;
        let several = SimRng::fork(seed, 14).chance(200_000) && !options.plain;
        let mut items = Vec::new();
        draw_faults(
            &kinds,
            (nodes, if new { strangers } else { 0 }),
            safety,
            &mut SimRng::fork(seed, 3),
            &mut items,
        );
        draw_works(safety, &mut SimRng::fork(seed, 4), &mut items);
        items.sort_by_key(|(at, _)| *at);
        let places = items.len();
        let items = items.into_iter().enumerate();
        let mut items: Vec<Item> = items
            .map(|(place, (at, what))| Item { place, at, what })
            .collect();
        if let Some(keep) = &options.keep {
            items.retain(|item| keep.contains(&item.place));
        }
        Self {
            seed,
            nodes,
            tomcats,
            hostile,
            several,
            configured,
            readers,
            tight,
            greedy,
            layers,
            mix,
            steady: options.steady,
            network,
            kinds,
            items,
            safety,
            places,
        }
    }

    /// What it is made of, by name, for people.
    pub fn describe(&self) -> Vec<(String, String)> {
        let kinds: Vec<&str> = self.kinds.iter().map(|kind| kind.name()).collect();
        let kinds = if kinds.is_empty() {
            "none".to_owned()
        } else {
            kinds.join(", ")
        };
        let network = format!("{:?}", self.network);
        let mut lines = vec![
            ("kinds of faults".to_owned(), kinds),
            ("time of faults".to_owned(), format!("{:?}", self.safety)),
        ];
        let fields = network.split_once('{').map_or("", |(_, fields)| fields);
        for field in fields.trim_end_matches([' ', '}']).split(", ") {
            match (field.split_once(": "), lines.last_mut()) {
                (Some((name, value)), _) => {
                    lines.push((format!("network {}", name.trim()), value.to_owned()));
                }
                // The second half of a pair.
                (None, Some((_, value))) => value.push_str(&format!(", {field}")),
                (None, None) => {}
            }
        }
        lines
    }

    /// Faults in it.
    pub fn faults(&self) -> usize {
        let is_fault = |item: &&Item| matches!(item.what, What::Fault(_));
        self.items.iter().filter(is_fault).count()
    }
}

fn draw_faults(
    kinds: &[FaultKind],
    (nodes, strangers): (u16, u16),
    safety: Duration,
    rng: &mut SimRng,
    items: &mut Vec<(Duration, What)>,
) {
    if kinds.is_empty() {
        return;
    }
    let every_ms = *rng.pick(&[300, 1000, 3000, 8000]);
    // The nodes find each other before the trouble begins, most of the time.
    let mut at = Duration::from_millis(rng.below(4000));
    while at < safety {
        let (fault, after) = rng.pick(kinds).draw(nodes, strangers, rng);
        items.push((at, What::Fault(fault)));
        if let Some((later, fault)) = after {
            items.push((at + later, What::Fault(fault)));
        }
        at += Duration::from_millis(rng.between(1, 2 * every_ms));
    }
    items.retain(|(at, _)| *at < safety);
}

fn draw_works(safety: Duration, rng: &mut SimRng, items: &mut Vec<(Duration, What)>) {
    let every_us = *rng.pick(&[2_000, 20_000, 20_000, 100_000, 500_000]);
    let most = 3000;
    let mut at = Duration::from_millis(rng.below(3000));
    for _ in 0..most {
        if at >= safety {
            break;
        }
        items.push((at, What::Work(rng.next_u64())));
        // Now and then many at once.
        if !rng.chance(100_000) {
            at += Duration::from_micros(rng.between(1, 2 * every_us));
        }
    }
}

/// A network that has some of the troubles, each with a strength of its own.
pub(crate) fn draw_network(rng: &mut SimRng) -> NetworkConfig {
    let quiet = NetworkConfig::quiet();
    // One in five runs looks for what faults alone do.
    if rng.chance(200_000) {
        return quiet;
    }
    let latency = rng.between(20_000, 3_000_000);
    let mut sometimes = |share, value: u64| {
        if rng.chance(share) {
            rng.below(value)
        } else {
            0
        }
    };
    let jitter_ns = 1 + sometimes(500_000, 5_000_000);
    let spike = sometimes(300_000, 20_000) as u32;
    let spike_ns = sometimes(1_000_000, 400_000_000);
    let bandwidth = match sometimes(200_000, 50_000_000) {
        0 => 0,
        some => some + 500_000,
    };
    let window = 2000 + sometimes(700_000, 256 << 10) as usize;
    let segment_max = 500 + sometimes(700_000, 64 << 10) as usize;
    let fragment = sometimes(500_000, 600_000) as u32;
    let datagram_loss = sometimes(500_000, 500_000) as u32;
    let datagram_double = sometimes(300_000, 300_000) as u32;
    let refuse = sometimes(200_000, 100_000) as u32;
    let slow_connect = sometimes(200_000, 100_000) as u32;
    let backlog = 1 + sometimes(800_000, 100) as u32;
    NetworkConfig {
        latency_ns: (latency / 4, latency),
        jitter_ns,
        spike,
        spike_ns,
        bandwidth,
        window,
        segment_max,
        fragment,
        datagram_loss,
        datagram_double,
        refuse,
        slow_connect,
        backlog,
        retransmit_max_ns: 4_000_000_000,
        ..quiet
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_is_what_it_was() {
        let whole = Plan::draw(11, &PlanOptions::default());
        let keep = Some(vec![0, 5, 7]);
        let part = Plan::draw(
            11,
            &PlanOptions {
                keep,
                ..PlanOptions::default()
            },
        );
        assert_eq!(
            part.items,
            [0, 5, 7].map(|place| whole.items[place].clone())
        );
        assert_eq!((part.nodes, part.network), (whole.nodes, whole.network));
    }

    #[test]
    fn plans_differ_in_what_can_go_wrong_at_all() {
        let plans: Vec<Plan> = (0..200)
            .map(|seed| Plan::draw(seed, &PlanOptions::default()))
            .collect();
        let has_strangers = |plan: &&Plan| plan.hostile || plan.tomcats > 0;
        for kind in FaultKind::ALL {
            let (with, without): (Vec<&Plan>, Vec<&Plan>) =
                (plans.iter()).partition(|plan| plan.kinds.contains(&kind));
            // About two of five; what happens to strangers only where there are some.
            let among = match kind.is_of_strangers() {
                true => with.len() + without.into_iter().filter(has_strangers).count(),
                false => plans.len(),
            };
            let share = 100 * with.len() / among;
            assert!((20..70).contains(&share), "{} in {share} %", kind.name());
            assert!(!kind.is_of_strangers() || with.iter().all(has_strangers));
        }
        assert!(plans.iter().any(|plan| plan.faults() == 0));
    }
}
