//! What the figures suggest, and why.

use folkmoot::Driver;

use super::round::{Case, Round};

/// Sentences for whoever has measured; each names the figures it comes from.
pub(super) fn of(rounds: &[Round]) -> Vec<String> {
    let mut advice = Vec::new();
    drivers(rounds, &mut advice);
    spin(rounds, &mut advice);
    waiting(rounds, &mut advice);
    callers(rounds, &mut advice);
    spread(rounds, &mut advice);
    room(rounds, &mut advice);
    if advice.is_empty() {
        advice.push("nothing stands out: the defaults fit".to_owned());
    }
    advice
}

fn find(rounds: &[Round], wanted: impl Fn(Case) -> bool) -> Option<&Round> {
    rounds.iter().find(|round| wanted(round.case))
}

/// The same cases with both drivers.
fn drivers(rounds: &[Round], advice: &mut Vec<String>) {
    let mut ratios: Vec<(f64, Case)> = Vec::new();
    for ring in rounds {
        let case = Case {
            driver: Driver::Mio,
            ..ring.case
        };
        if ring.case.driver == Driver::IoUring
            && let Some(mio) = find(rounds, |other| other == case)
            && mio.cpu_micros > 0.0
        {
            ratios.push((ring.cpu_micros / mio.cpu_micros, case));
        }
    }
    ratios.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    let (Some((least, best)), Some((most, worst))) = (ratios.first(), ratios.last()) else {
        return;
    };
    let verdict = match () {
        () if *most <= 0.95 => "`driver(Driver::IoUring)` saves here",
        () if *least >= 1.05 => "mio, the default, is the better one here",
        () => "the drivers differ by the load: choose by the one that is yours",
    };
    advice.push(format!(
        "io_uring takes {least:.2} to {most:.2} of mio's CPU (least with {} bytes, options {}, {} callers; most with {} bytes, options {}, {} callers): {verdict}",
        best.size, best.options, best.callers, worst.size, worst.options, worst.callers
    ));
}

/// The same cases with and without the spin: a sentence for those where it pays, one for those where it costs, each with
/// the clearest of them.
fn spin(rounds: &[Round], advice: &mut Vec<String>) {
    let mut pays: Vec<(f64, &Round, &Round)> = Vec::new();
    let mut costs = Vec::new();
    let mut loads = 0;
    for with in rounds.iter().filter(|round| round.case.spin > 0) {
        let case = Case {
            spin: 0,
            ..with.case
        };
        let Some(without) = find(rounds, |other| other == case) else {
            continue;
        };
        if let (Some([slow, ..]), Some([fast, ..])) = (without.latency, with.latency) {
            let ratio = fast / slow.max(0.1);
            loads += 1;
            if ratio < 0.8 {
                pays.push((ratio, with, without));
            } else if ratio > 1.1 {
                costs.push((ratio, with, without));
            }
        }
    }
    pays.sort_by(|(a, ..), (b, ..)| a.total_cmp(b));
    costs.sort_by(|(a, ..), (b, ..)| b.total_cmp(a));
    if let Some((_, with, without)) = pays.first() {
        advice.push(format!(
            "`Tuning::spin` of {} µs pays here in {} of {loads} loads ({}): threads that sleep wake slowly on these hosts; it needs a processor while messages flow",
            with.case.spin,
            pays.len(),
            compared(with, without)
        ));
    }
    if let Some((_, with, without)) = costs.first() {
        advice.push(format!(
            "leave `Tuning::spin` at zero in {} of {loads} loads ({}): the processors have other work",
            costs.len(),
            compared(with, without)
        ));
    }
}

fn compared(with: &Round, without: &Round) -> String {
    let Case {
        driver,
        options,
        size,
        callers,
        ..
    } = with.case;
    let p50 = |round: &Round| round.latency.map_or(0.0, |[p50, ..]| p50);
    format!(
        "{driver}, {size} bytes, options {options}, {callers} caller{}: p50 {:.1} µs instead of {:.1} µs, {:.1} CPU µs instead of {:.1}",
        if callers == 1 { "" } else { "s" },
        p50(with),
        p50(without),
        with.cpu_micros,
        without.cpu_micros
    )
}

/// What holds with any driver is said for the first.
fn is_first_driver(rounds: &[Round], round: &Round) -> bool {
    rounds
        .first()
        .is_some_and(|first| first.case.driver == round.case.driver)
}

/// What waiting for acknowledgements costs against not waiting.
fn waiting(rounds: &[Round], advice: &mut Vec<String>) {
    for sync in rounds.iter().filter(|round| round.case.spin == 0) {
        let case = Case {
            options: 8,
            ..sync.case
        };
        if sync.case.options != 6 || sync.case.callers != 1 || !is_first_driver(rounds, sync) {
            continue;
        }
        if let (Some(free), Some([p50, _, p999])) =
            (find(rounds, |other| other == case), sync.latency)
        {
            advice.push(format!(
                "{} bytes: with `channelSendOptions` 6 a request waits {p50:.0} µs (1 in 1000: {p999:.0} µs) and knows that every member has the change; 8 waits for nothing, takes 1/{:.1} of the CPU, and may lose the last changes of a node that crashes",
                case.size,
                sync.cpu_micros / free.cpu_micros.max(0.01)
            ));
        }
    }
}

/// Whether more callers help.
fn callers(rounds: &[Round], advice: &mut Vec<String>) {
    for one in rounds {
        let single = one.case.callers == 1 && one.case.waits() && one.case.spin == 0;
        if !single || !is_first_driver(rounds, one) {
            continue;
        }
        let same = |case: Case| Case { callers: 1, ..case } == one.case && case.callers > 1;
        let best = rounds
            .iter()
            .filter(|round| same(round.case))
            .max_by(|a, b| a.per_second.total_cmp(&b.per_second));
        if let Some(best) = best.filter(|best| best.per_second > one.per_second * 1.5) {
            advice.push(format!(
                "{} bytes, options {}: one caller is bound by the round trip; {} callers send {:.1} times as many for {:.1} instead of {:.1} CPU µs each, so let requests run in parallel",
                one.case.size,
                one.case.options,
                best.case.callers,
                best.per_second / one.per_second,
                best.cpu_micros,
                one.cpu_micros
            ));
        }
    }
}

/// Whether the slowest are out of proportion.
fn spread(rounds: &[Round], advice: &mut Vec<String>) {
    let worst = rounds
        .iter()
        .filter_map(|round| {
            round
                .latency
                .map(|[p50, p99, _]| (p99 / p50.max(0.1), round))
        })
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    if let Some((ratio, round)) = worst.filter(|(ratio, _)| *ratio > 10.0) {
        advice.push(format!(
            "p99 is {ratio:.0} times p50 ({} bytes, options {}, {} callers): other work takes the processors now and then; leave one free for the driver, or measure when the hosts are quiet",
            round.case.size, round.case.options, round.case.callers
        ));
    }
}

/// Whether senders were held up by full queues.
fn room(rounds: &[Round], advice: &mut Vec<String>) {
    let most = rounds.iter().max_by_key(|round| round.full);
    if let Some(round) = most.filter(|round| round.full > 0) {
        advice.push(format!(
            "a member's queue was full {} times ({} bytes, options {}): the members take {:.0} a second and no setting changes that; `limits.queue_bytes_max` only says how many bytes of a burst may wait here ({:.0} MiB resident now)",
            round.full, round.case.size, round.case.options, round.per_second, round.here_mib
        ));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(options: u32, callers: usize, spin: u64, p50: f64, per_second: f64) -> Round {
        Round {
            case: Case {
                driver: Driver::Mio,
                options,
                size: 512,
                callers,
                spin,
            },
            per_second,
            latency: (options == 6).then_some([p50, p50 * 2.0, p50 * 3.0]),
            cpu_micros: 10.0,
            here_mib: 5.0,
            there_mib: 5.0,
            full: 0,
        }
    }

    #[test]
    fn figures_become_sentences_and_their_absence_does_not() {
        let slow = round(6, 1, 0, 60.0, 15_000.0);
        let fast = round(6, 1, 50, 8.0, 100_000.0);
        let many = round(6, 16, 0, 90.0, 150_000.0);
        let free = round(8, 1, 0, 0.0, 1_000_000.0);
        let full = Round {
            full: 7,
            ..free.clone()
        };
        let ring = Round {
            case: Case {
                driver: Driver::IoUring,
                ..slow.case
            },
            cpu_micros: 8.0,
            ..slow.clone()
        };
        let noisy = Round {
            latency: Some([10.0, 900.0, 1000.0]),
            ..slow.clone()
        };
        #[rustfmt::skip]
        let cases: [(&[&Round], &str); 8] = [
            (&[&slow, &ring],  "io_uring takes 0.80 to 0.80 of mio's CPU"),
            (&[&slow, &fast],  "`Tuning::spin` of 50 µs pays"),
            (&[&fast, &round(6, 1, 0, 5.0, 9.0)], "leave `Tuning::spin` at zero"),
            (&[&slow, &free],  "may lose the last changes"),
            (&[&slow, &many],  "let requests run in parallel"),
            (&[&noisy],        "p99 is 90 times p50"),
            (&[&full],         "a member's queue was full 7 times"),
            (&[&slow],         "nothing stands out"),
        ];
        for (rounds, wanted) in cases {
            let rounds: Vec<Round> = rounds.iter().map(|round| (*round).clone()).collect();
            let said = of(&rounds);
            assert!(
                said.iter().any(|line| line.contains(wanted)),
                "{wanted}: {said:?}"
            );
        }
        assert_eq!(of(&[slow, round(8, 16, 0, 0.0, 1.0)]).len(), 1);
    }
}
