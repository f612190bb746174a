//! What `folkmoot bench` can be told, and what is wrong with it.

use std::net::SocketAddr;
use std::time::Duration;

use folkmoot::Driver;

use super::round::Bound;

/// What `folkmoot bench` can be told.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Hold still and count what others send: to be started on the other hosts first.
    #[arg(long)]
    pub(super) serve: bool,
    /// Our address, as the other hosts reach it.
    #[arg(long, default_value = "127.0.0.1:4100")]
    pub(super) listen: SocketAddr,
    /// The address of another host's `folkmoot bench --serve`; once for each. Without, members are started on this machine.
    #[arg(long = "member")]
    pub(super) members: Vec<SocketAddr>,
    /// How many members are started on this machine if none are named, at the ports after ours.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=16))]
    pub(super) local: u16,
    /// Tomcat's channelSendOptions to measure: 6 waits until every member has processed a message, 2 until it has received it,
    /// 0 and 8 do not wait.
    #[arg(long, value_delimiter = ',', default_value = "6,8")]
    pub(super) send_options: Vec<u32>,
    /// Bytes of a message.
    #[arg(long, value_delimiter = ',', default_value = "512,65536")]
    pub(super) sizes: Vec<usize>,
    /// Callers at once; more than 32 are tasks of one thread, fewer are threads.
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pub(super) callers: Vec<usize>,
    /// Drivers to measure: mio, io_uring. Local members use the same one; `--serve` takes the first.
    #[arg(long, value_delimiter = ',', default_value = "auto")]
    pub(super) drivers: Vec<Driver>,
    /// Seconds for each combination.
    #[arg(long, default_value_t = 2.0)]
    pub(super) seconds: f64,
    /// Messages for each combination, instead of seconds.
    #[arg(long, conflicts_with = "seconds")]
    pub(super) messages: Option<u64>,
    /// Microseconds that the driver looks for input before it sleeps; measured as well as without. 0 leaves it out.
    #[arg(long, default_value_t = 50)]
    pub(super) spin: u64,
    /// Seconds to wait for the members.
    #[arg(long, default_value_t = 60)]
    pub(super) wait: u64,
}

impl Arguments {
    /// Whether the arguments make sense.
    ///
    /// # Errors
    /// What does not, and what would.
    pub(super) fn check(&self) -> Result<(), String> {
        let wrong = |what: &str, given: &dyn std::fmt::Display| Err(format!("{what}, not {given}"));
        if let Some(n) = self.callers.iter().find(|n| !(1..=4096).contains(*n)) {
            return wrong("--callers takes 1 to 4096", n);
        }
        if let Some(n) = self.sizes.iter().find(|n| !(16..=64 << 20).contains(*n)) {
            return wrong("--sizes takes 16 to 67108864 bytes", n);
        }
        if let Some(n) = self
            .send_options
            .iter()
            .find(|o| !matches!(o, 0 | 2 | 6 | 8))
        {
            return wrong("--send-options takes 0, 2, 6 and 8", n);
        }
        if !(0.05..=600.0).contains(&self.seconds) {
            return wrong("--seconds takes 0.05 to 600", &self.seconds);
        }
        if let Some(0) = self.messages {
            return wrong("--messages takes 1 or more", &0);
        }
        if self.spin > 10_000 {
            return wrong("--spin takes 0 to 10000 microseconds", &self.spin);
        }
        if self.listen.port() == 0 || self.listen.ip().is_unspecified() {
            let what =
                "--listen takes the address and port by which the other hosts reach this one";
            return wrong(what, &self.listen);
        }
        let mut seen = vec![self.listen];
        for member in &self.members {
            if member.port() == 0 || member.ip().is_unspecified() {
                let what = "--member takes the address and port of another host's --listen";
                return wrong(what, member);
            }
            if seen.contains(member) {
                let what = "every --member has another address than the others and than --listen";
                return Err(format!("{what}: {member} is there twice"));
            }
            seen.push(*member);
        }
        if self.serve && self.members.is_empty() {
            return Err(
                "--serve wants --member ADDRESS, the --listen of the host that measures".into(),
            );
        }
        if !self.serve && self.members.is_empty() {
            self.local_addresses()?;
        }
        if self.drivers.contains(&Driver::IoUring)
            && let Err(reason) = folkmoot_uring::support()
        {
            return Err(format!(
                "io_uring cannot be used here ({reason}): --drivers mio"
            ));
        }
        Ok(())
    }

    /// Where members on this machine listen.
    ///
    /// # Errors
    /// There are not so many ports after ours.
    pub(super) fn local_addresses(&self) -> Result<Vec<SocketAddr>, String> {
        (1..=self.local)
            .map(|number| {
                let port = self.listen.port().checked_add(number);
                port.map(|port| SocketAddr::new(self.listen.ip(), port))
            })
            .collect::<Option<_>>()
            .ok_or_else(|| {
                let most = u16::MAX - self.local;
                format!(
                    "--local {} needs as many ports after ours: --listen takes one up to {most}",
                    self.local
                )
            })
    }

    /// The spins to measure.
    pub(super) fn spins(&self) -> Vec<u64> {
        match self.spin {
            0 => vec![0],
            spin => vec![0, spin],
        }
    }

    /// How long a combination is measured.
    pub(super) fn bound(&self) -> Bound {
        match self.messages {
            Some(messages) => Bound::Messages(messages),
            None => Bound::Time(Duration::from_secs_f64(self.seconds)),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        arguments: Arguments,
    }

    #[test]
    fn what_makes_no_sense_is_answered_with_what_would() {
        #[rustfmt::skip]
        let cases: [(&str, &str); 17] = [
            ("",                                                   ""),
            ("--serve --member 10.0.0.1:4100",                     ""),
            ("--send-options 0,2,6,8 --sizes 16 --callers 4096",   ""),
            ("--callers 1,0",                                      "--callers takes 1 to 4096, not 0"),
            ("--sizes 8",                                          "--sizes takes 16 to 67108864 bytes, not 8"),
            ("--send-options 7",                                   "--send-options takes 0, 2, 6 and 8, not 7"),
            ("--seconds 0",                                        "--seconds takes 0.05 to 600, not 0"),
            ("--seconds NaN",                                      "--seconds takes 0.05 to 600, not NaN"),
            ("--messages 0",                                       "--messages takes 1 or more, not 0"),
            ("--messages 5 --seconds 1",                           "cannot be used with"),
            ("--spin 10001",                                       "--spin takes 0 to 10000 microseconds, not 10001"),
            ("--listen 0.0.0.0:4100",                              "by which the other hosts reach this one, not 0.0.0.0:4100"),
            ("--listen 127.0.0.1:65535",                           "--listen takes one up to 65534"),
            ("--member 10.0.0.2:0",                                "of another host's --listen, not 10.0.0.2:0"),
            ("--member 127.0.0.1:4100",                            "127.0.0.1:4100 is there twice"),
            ("--serve",                                            "--serve wants --member"),
            ("--drivers epoll",                                    "`epoll` is no driver: say auto, mio or io_uring"),
        ];
        for (words, wanted) in cases {
            let words = std::iter::once("bench").chain(words.split_whitespace());
            let said = match Line::try_parse_from(words.clone()) {
                Ok(line) => line.arguments.check().err().unwrap_or_default(),
                Err(error) => error.to_string(),
            };
            let words: Vec<&str> = words.collect();
            match wanted.is_empty() {
                true => assert_eq!(said, "", "{words:?}"),
                false => assert!(said.contains(wanted), "{words:?}: {said}"),
            }
        }
    }
}
