//! What raw loops took on the machine on which the absolute targets were derived.
//!
//! A target such as "at most 7.5 CPU µs" was found beside a raw loop that took 4.7: it asks for no more than 1.6 times the
//! sockets. On a machine whose system calls and switches cost three times as much the sockets alone take more than 7.5, and the
//! figure says nothing of us any more; the multiple does. So both are judged: the figure, and the multiple of the raw loop of the
//! same run.

/// One caller, both ends on one core, 512 bytes and an answer: CPU µs.
pub const PING_PONG: f64 = 4.7;
/// The same, both ends looking again and again, a core each: µs to p50.
pub const PING_PONG_SPINNING_P50: f64 = 5.8;
/// Sixteen messages of 512 bytes under way: CPU µs of each.
pub const WINDOW_OF_16: f64 = 2.5;
/// 256 of them.
pub const WINDOW_OF_256: f64 = 0.27;
/// Frames of 64 bytes joined into large writes: CPU µs of each.
pub const JOINED_64_B: f64 = 0.027;
/// Frames of 512 bytes.
pub const JOINED_512_B: f64 = 0.14;
/// Frames of 1 KiB: nobody has measured them, so twice the half of it.
pub const JOINED_1_KIB: f64 = 2.0 * JOINED_512_B;
/// Messages of 4 KiB one way: CPU µs of each.
pub const ONE_WAY_4_KIB: f64 = 2.5;
/// Writes of 64 KiB took 0.465 CPU seconds a GB; the answer was not measured with them, so it counts as that of a ping-pong.
pub const ANSWERED_64_KIB: f64 = 0.465e-3 * 65_536.0 + PING_PONG;
/// A message of 1 MiB one way: CPU µs. An answer is nothing beside it.
pub const ONE_WAY_1_MIB: f64 = 315.0;

/// A figure beside the raw loop's of the same run, and what the target was beside the raw loop when it was derived.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct InRawLoops {
    /// Ours in raw loops.
    pub reached: f64,
    /// What was asked for, in raw loops.
    pub asked: f64,
}

impl InRawLoops {
    /// `value` and the raw loop's `raw` are of this run, the target `most` was derived beside `derived`, all in the same unit. Nothing if
    /// the raw loop has no figure.
    pub fn of(value: f64, raw: f64, most: f64, derived: f64) -> Option<Self> {
        (raw > 0.0 && derived > 0.0).then(|| Self {
            reached: value / raw,
            asked: most / derived,
        })
    }

    /// Whether the sockets have taken as much of it as they were to.
    pub fn is_enough(&self) -> bool {
        self.reached <= self.asked
    }

    /// For tables.
    pub fn words(&self) -> String {
        let Self { reached, asked } = self;
        format!("{reached:.2} × raw; the target was {asked:.2} × raw")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_figure_is_as_good_as_its_multiple_of_the_raw_loop() {
        // The target 7.5 beside 4.7: 1.6 raw loops.
        let of = |value, raw| InRawLoops::of(value, raw, 7.5, PING_PONG);
        for (value, raw, enough, words) in [
            (22.0, 15.1, true, "1.46 × raw; the target was 1.60 × raw"),
            (7.5, 4.7, true, "1.60 × raw; the target was 1.60 × raw"),
            (7.5, 4.0, false, "1.88 × raw; the target was 1.60 × raw"),
            (25.0, 15.1, false, "1.66 × raw; the target was 1.60 × raw"),
        ] {
            let relative = of(value, raw).expect("both have figures");
            assert_eq!(relative.is_enough(), enough, "{value} {raw}");
            assert_eq!(relative.words(), words);
        }
        assert_eq!(of(22.0, 0.0), None, "nobody has measured the raw loop");
        assert_eq!(of(22.0, f64::NAN), None);
    }

    #[test]
    fn what_was_not_measured_is_put_together_from_what_was() {
        assert!((JOINED_1_KIB - 0.28).abs() < 1e-9);
        assert!((ANSWERED_64_KIB - 35.17).abs() < 0.01, "{ANSWERED_64_KIB}");
    }
}
