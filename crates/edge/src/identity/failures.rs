//! How many failing credentials are looked at. Pure: the time is an argument.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// One source may fail this often at once: a fleet behind one address after a rotation, say…
const SOURCE: Pace = Pace { interval: Duration::from_millis(100), burst: 50 };
/// …and all together this often. A verified signature costs about 0.1 ms, so this is a fiftieth of one core.
const OVERALL: Pace = Pace { interval: Duration::from_millis(5), burst: 500 };
/// Sources that are told apart, about 50 bytes each. The ones beyond share one allowance until others recover.
const SOURCES_MAX: usize = 4_096;

/// Failing credentials by where they come from. Whoever is about to look at an unknown credential spends an
/// allowance first, and gets it back if the credential proves good.
#[derive(Debug, Default)]
pub(crate) struct Failures {
    by_source: HashMap<IpAddr, Allowance>,
    others: Allowance,
    overall: Allowance,
}

/// `burst` at once, then one each `interval`.
#[derive(Debug, Clone, Copy)]
struct Pace {
    interval: Duration,
    burst: u32,
}

/// When the allowance will be whole again (the generic cell rate algorithm, ITU-T I.371); none: it is.
#[derive(Debug, Clone, Copy, Default)]
struct Allowance(Option<Instant>);

impl Allowance {
    /// How long until one more fits.
    fn wait(self, pace: Pace, now: Instant) -> Duration {
        let ahead = self.0.map_or(Duration::ZERO, |whole| whole.saturating_duration_since(now));
        ahead.saturating_sub(pace.interval * (pace.burst - 1))
    }

    fn spend(&mut self, pace: Pace, now: Instant) {
        self.0 = Some(self.0.map_or(now, |whole| whole.max(now)) + pace.interval);
    }

    fn refund(&mut self, pace: Pace) {
        self.0 = self.0.and_then(|whole| whole.checked_sub(pace.interval));
    }

    fn is_whole(self, now: Instant) -> bool {
        self.0.is_none_or(|whole| whole <= now)
    }
}

impl Failures {
    /// Spends one allowance of the source and one of all.
    ///
    /// # Errors
    /// How long to wait until there is one.
    pub(crate) fn spend(&mut self, source: Option<IpAddr>, now: Instant) -> Result<(), Duration> {
        let overall = self.overall.wait(OVERALL, now);
        let of_source = self.of(source, now);
        let wait = of_source.wait(SOURCE, now).max(overall);
        if wait > Duration::ZERO {
            return Err(wait);
        }
        of_source.spend(SOURCE, now);
        self.overall.spend(OVERALL, now);
        Ok(())
    }

    /// Gives back what [`Failures::spend`] took: the credential was good.
    pub(crate) fn refund(&mut self, source: Option<IpAddr>) {
        let of_source = source.and_then(|address| self.by_source.get_mut(&network(address)));
        of_source.unwrap_or(&mut self.others).refund(SOURCE);
        self.overall.refund(OVERALL);
    }

    fn of(&mut self, source: Option<IpAddr>, now: Instant) -> &mut Allowance {
        let Some(network) = source.map(network) else { return &mut self.others };
        if self.by_source.len() >= SOURCES_MAX && !self.by_source.contains_key(&network) {
            self.by_source.retain(|_network, allowance| !allowance.is_whole(now));
            if self.by_source.len() >= SOURCES_MAX {
                return &mut self.others;
            }
        }
        self.by_source.entry(network).or_default()
    }
}

/// What one subscriber can choose freely counts as one source: of IPv6, the last 64 bits.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().expect("an address"))
    }

    fn spent(failures: &mut Failures, source: Option<IpAddr>, now: Instant) -> usize {
        (0..1_000).take_while(|_| failures.spend(source, now).is_ok()).count()
    }

    #[test]
    fn one_source_is_stopped_and_told_when_to_come_back() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        assert_eq!(spent(&mut failures, address("192.0.2.1"), now), 50);
        let wait = failures.spend(address("192.0.2.1"), now).expect_err("spent");
        assert_eq!(wait, Duration::from_millis(100));
        assert!(failures.spend(address("192.0.2.1"), now + wait).is_ok());
        assert!(failures.spend(address("192.0.2.1"), now + wait).is_err());
        assert!(failures.spend(address("192.0.2.2"), now).is_ok(), "another source has its own");
    }

    #[test]
    fn many_sources_are_stopped_together() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        let all: usize = (0..20).map(|n| spent(&mut failures, address(&format!("192.0.2.{n}")), now)).sum();
        assert_eq!(all, 500);
        assert!(failures.spend(address("198.51.100.1"), now + Duration::from_secs(1)).is_ok());
    }

    #[test]
    fn a_good_credential_costs_nothing() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        for _ in 0..2_000 {
            failures.spend(address("192.0.2.1"), now).expect("given back each time");
            failures.refund(address("192.0.2.1"));
        }
        assert_eq!(spent(&mut failures, address("192.0.2.1"), now), 50);
    }

    #[test]
    fn a_subscribers_ipv6_addresses_are_one_source() {
        let (mut failures, now) = (Failures::default(), Instant::now());
        assert_eq!(spent(&mut failures, address("2001:db8::1"), now), 50);
        assert!(failures.spend(address("2001:db8::ffff:2"), now).is_err());
        assert!(failures.spend(address("2001:db8:0:1::1"), now).is_ok());
        assert_eq!(
            network(IpAddr::V6("::ffff:192.0.2.1".parse().expect("an address"))),
            address("192.0.2.1").expect("one")
        );
    }

    #[test]
    fn memory_is_bounded_and_comes_back() {
        let (mut failures, start) = (Failures::default(), Instant::now());
        let mut now = start;
        for n in 0..20_000_u32 {
            now += Duration::from_millis(6);
            assert!(failures.spend(Some(IpAddr::V4(n.into())), now).is_ok());
            assert!(failures.by_source.len() <= SOURCES_MAX);
        }
    }
}
