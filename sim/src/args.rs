//! The command line.

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use folkmoot_sim::PlanOptions;

/// What the program can do.
pub(crate) const USAGE: &str = "\
folkmoot-sim: simulated clusters, one seed a run

  folkmoot-sim run --seeds A..B [--shard I/N] [--json] [options]
      Runs the seeds from A up to B (A..=B includes B, a single number is that seed alone). Exits with 0 only
      if every run held. --shard runs every Nth seed, beginning with the Ith (from 0). --json prints one object a run.
  folkmoot-sim replay --seed N [--lines L] [--trace FILE.html] [options]
      Runs one seed again and prints what happened: everything, or the last L lines of it. --trace writes it as one page
      for a browser instead (with --mode all one page a mode: FILE-group.html and so on).
  folkmoot-sim shrink --seed N [--tries T] [options]
      Leaves out faults and works as long as the same rule is still broken (at most T runs, 2000 by default), and prints
      what is left with the command that replays it.
  folkmoot-sim explore --seeds A..B [options]
      Runs the seeds and prints what they reached: faults, messages, outcomes. What stands at 0, or not at all, is a
      blind spot.
  folkmoot-sim canary [--seeds A..B] [--plant NAME] [--json]
      Plants one error after another (or that one) in the machines and prints which run shows it, by which rule. Exits
      with 0 only if every one is found, by a run that holds without it. Builds itself anew for that if need be.
  folkmoot-sim bench
      Prints events a second and how much faster than real time it simulates.

options
  --mode all|group|session|maps   what the nodes are: bare channels, clusters with sessions on every node, clusters with
                     sessions on two nodes each, or one after the other
  --plain            our own nodes alone: no Tomcats, nobody hostile, no large clusters
  --steady           as plans were when strangers neither stood still nor crashed: for seeds found then
  --threads T        so many runs at a time (run and explore; one for each core by default)
  --nodes N          so many nodes (1 to 200) instead of a number drawn from the seed
  --seconds S        so many seconds of virtual time with faults instead of a time drawn from the seed
  --plant NAME       with that error planted in the machines, in a build with the feature `plant`
  --keep P,P-P,…     only the faults and works at these places of the plan, or none
";

/// What is to be done.
pub(crate) enum Command {
    Help,
    Run {
        seeds: RangeInclusive<u64>,
        shard: (u64, u64),
        json: bool,
        threads: usize,
        common: Common,
    },
    Explore {
        seeds: RangeInclusive<u64>,
        threads: usize,
        common: Common,
    },
    Shrink {
        seed: u64,
        tries: usize,
        common: Common,
    },
    Bench,
    Canary {
        seeds: Option<RangeInclusive<u64>>,
        only: Option<String>,
        json: bool,
    },
    Replay {
        seed: u64,
        lines: usize,
        trace: Option<PathBuf>,
        common: Common,
    },
}

/// What the nodes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Modes {
    All,
    Group,
    Session,
    Maps,
}

/// What all commands take.
pub(crate) struct Common {
    pub(crate) mode: Modes,
    pub(crate) plan: PlanOptions,
    /// The options as they were given, to be given again.
    pub(crate) words: String,
}

impl Command {
    pub(crate) fn parse(words: &[String]) -> Result<Self, String> {
        let Some((command, rest)) = words.split_first() else {
            return Ok(Self::Help);
        };
        let mut words = rest.iter();
        let mut common = Common {
            mode: Modes::All,
            plan: PlanOptions::default(),
            words: String::new(),
        };
        let (mut seeds, mut seed, mut shard, mut json) = (None, None, (0, 1), false);
        let mut plant = None;
        let mut threads = std::thread::available_parallelism().map_or(1, usize::from);
        let (mut lines, mut tries) = (usize::MAX, 2000);
        let mut trace = None;
        while let Some(word) = words.next() {
            if word == "--json" {
                json = true;
                continue;
            }
            if word == "--plain" {
                common.plan.plain = true;
                common.words.push_str(" --plain");
                continue;
            }
            if word == "--steady" {
                common.plan.steady = true;
                common.words.push_str(" --steady");
                continue;
            }
            let value = words
                .next()
                .ok_or_else(|| format!("{word} needs a value"))?;
            let number = || {
                value
                    .parse::<u64>()
                    .map_err(|_| format!("{word} {value}: not a number"))
            };
            match word.as_str() {
                "--seeds" => seeds = Some(range(value)?),
                "--seed" => seed = Some(number()?),
                "--shard" => shard = parse_shard(value)?,
                "--threads" => threads = (number()? as usize).clamp(1, 1024),
                "--tries" => tries = number()? as usize,
                "--trace" => trace = Some(PathBuf::from(value)),
                "--lines" => lines = number()? as usize,
                "--mode" => {
                    common.mode = match value.as_str() {
                        "all" => Modes::All,
                        "group" => Modes::Group,
                        "session" => Modes::Session,
                        "maps" => Modes::Maps,
                        _ => return Err(format!("--mode {value}: all, group, session or maps")),
                    };
                }
                "--nodes" => {
                    let nodes = number()?;
                    if !(1..=200).contains(&nodes) {
                        return Err(format!("--nodes {nodes}: 1 to 200"));
                    }
                    common.plan.nodes = Some(nodes as u16);
                }
                "--seconds" => common.plan.safety = Some(Duration::from_secs(number()?)),
                "--plant" => plant = Some(value.clone()),
                "--keep" => common.plan.keep = Some(parse_places(value)?),
                _ => return Err(format!("{word} is no option")),
            }
            if ["--nodes", "--seconds", "--keep", "--plant"].contains(&word.as_str()) {
                common.words.push_str(&format!(" {word} {value}"));
            }
        }
        if let Some(name) = plant.as_deref().filter(|_| command != "canary") {
            crate::planted::plant(name)?;
        }
        match command.as_str() {
            "canary" => Ok(Self::Canary {
                seeds,
                only: plant,
                json,
            }),
            "run" => {
                let seeds = seeds.ok_or("run needs --seeds A..B")?;
                #[rustfmt::skip]
                let run = Self::Run { seeds, shard, json, threads, common };
                Ok(run)
            }
            "replay" => {
                let seed = seed.ok_or("replay needs --seed N")?;
                Ok(Self::Replay {
                    seed,
                    lines,
                    trace,
                    common,
                })
            }
            "explore" => {
                let seeds = seeds.ok_or("explore needs --seeds A..B")?;
                #[rustfmt::skip]
                let explore = Self::Explore { seeds, threads, common };
                Ok(explore)
            }
            "shrink" => {
                let seed = seed.ok_or("shrink needs --seed N")?;
                #[rustfmt::skip]
                let shrink = Self::Shrink { seed, tries, common };
                Ok(shrink)
            }
            "bench" => Ok(Self::Bench),
            "help" | "--help" | "-h" => Ok(Self::Help),
            _ => Err(format!("{command} is no command")),
        }
    }
}

fn range(text: &str) -> Result<RangeInclusive<u64>, String> {
    let wrong = || format!("--seeds {text}: A..B, A..=B or one number");
    let number = |text: &str| text.parse::<u64>().map_err(|_| wrong());
    let Some((from, to)) = text.split_once("..") else {
        let seed = number(text)?;
        return Ok(seed..=seed);
    };
    let from = number(from)?;
    let last = match to.strip_prefix('=') {
        Some(last) => Some(number(last)?),
        None => number(to)?.checked_sub(1),
    };
    match last {
        Some(last) if last >= from => Ok(from..=last),
        _ => Err(format!("--seeds {text}: no seed in it")),
    }
}

fn parse_shard(text: &str) -> Result<(u64, u64), String> {
    let wrong = || format!("--shard {text}: I/N, I from 0 to N-1");
    let (index, count) = text.split_once('/').ok_or_else(wrong)?;
    let index = index.parse().map_err(|_| wrong())?;
    let count = count.parse().map_err(|_| wrong())?;
    if index < count {
        Ok((index, count))
    } else {
        Err(wrong())
    }
}

/// Places as `1,4-7,9`, or `none`.
fn parse_places(text: &str) -> Result<Vec<usize>, String> {
    let wrong = || format!("--keep {text}: places as 1,4-7,9, or none");
    if text == "none" {
        return Ok(Vec::new());
    }
    let mut places = Vec::new();
    for part in text.split(',').filter(|part| !part.is_empty()) {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let from: usize = from.parse().map_err(|_| wrong())?;
        let to: usize = to.parse().map_err(|_| wrong())?;
        places.extend(from..=to);
    }
    Ok(places)
}

/// Places as `1,4-7,9`: the reverse.
pub(crate) fn places_text(places: &[usize]) -> String {
    if places.is_empty() {
        return "none".to_owned();
    }
    let mut text = String::new();
    let mut rest = places;
    while let [first, ..] = rest {
        let run = (0..rest.len())
            .take_while(|at| rest[*at] == first + at)
            .count();
        if !text.is_empty() {
            text.push(',');
        }
        text.push_str(&first.to_string());
        if run > 1 {
            text.push_str(&format!("-{}", first + run - 1));
        }
        rest = &rest[run..];
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_are_given_as_ranges() {
        assert_eq!(range("3..7"), Ok(3..=6));
        assert_eq!(range("3..=7"), Ok(3..=7));
        assert_eq!(range("9"), Ok(9..=9));
        for wrong in ["", "a..b", "7..3", "7..=3", "3..3", "..", "1..=b"] {
            assert!(range(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn places_survive_the_command_line() {
        for places in [vec![], vec![3], vec![0, 1, 2, 7, 9, 10]] {
            assert_eq!(parse_places(&places_text(&places)), Ok(places));
        }
    }
}
