//! What is known of a peer's addresses, and what to do next.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::client::conn::http2::SendRequest;
use tokio::time::Instant;
use tonic::body::Body;

use super::Line;
use crate::peer::connect::ConnectError;
use crate::peer::failure::Unreachable;

/// How old what a resolver said may become while calls are made.
const RESOLVE_INTERVAL: Duration = Duration::from_secs(5);
/// Addresses that are connected to; a name with more has them shared out among its callers by the resolver's order.
const ADDRESSES_MAX: usize = 16;
/// The pause after a failed attempt doubles from this…
const PAUSE_BASE: Duration = Duration::from_millis(100);
/// … up to this, which is also the longest that a call waits to hear of a peer that is down.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// The addresses of a peer. Pure but for its counters: the time and the dice are arguments.
#[derive(Default)]
pub(super) struct Members {
    members: Vec<Member>,
    resolved_at: Option<Instant>,
    resolving: bool,
    /// Failed resolutions in a row, and when the next may be tried.
    unresolved: u32,
    resolve_not_before: Option<Instant>,
    /// Attempts that failed since the beginning.
    failures: u64,
    last_failure: Option<Arc<ConnectError>>,
    /// Where the search for a connection begins, so that equals take turns.
    turn: usize,
}

struct Member {
    address: SocketAddr,
    state: State,
    /// Failed attempts in a row.
    failures: u32,
}

enum State {
    Idle,
    Connecting,
    Up(Line),
    Paused(Instant),
}

/// Work that a call found to be due.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Job {
    Resolve,
    Connect(SocketAddr),
}

/// What a call does next.
pub(super) enum Verdict {
    Use(Line),
    /// Look again when something changed, or then.
    Wait {
        until: Option<Instant>,
    },
    Down(Unreachable),
}

impl Members {
    /// Attempts that failed so far; a call compares this with what it was when it came.
    pub(super) fn failures(&self) -> u64 {
        self.failures
    }

    /// Whether an attempt at an address follows no failed one.
    pub(super) fn is_fresh(&self, address: SocketAddr) -> bool {
        self.members.iter().any(|member| member.address == address && member.failures == 0)
    }

    /// What is due, and what a call does that saw `failures_before` when it came.
    pub(super) fn decide(&mut self, now: Instant, failures_before: u64) -> (Vec<Job>, Verdict) {
        let mut jobs = self.due_connections(now);
        if self.is_resolution_due(now) {
            self.resolving = true;
            jobs.push(Job::Resolve);
        }
        if let Some(line) = self.least_loaded() {
            return (jobs, Verdict::Use(line));
        }
        let connecting = self.members.iter().any(|member| matches!(member.state, State::Connecting));
        let verdict = if connecting || (self.members.is_empty() && self.resolving) {
            Verdict::Wait { until: None }
        } else if self.failures > failures_before {
            Verdict::Down(self.unreachable(now))
        } else {
            Verdict::Wait { until: self.next_attempt() }
        };
        (jobs, verdict)
    }

    /// Why there is no connection, and when it is worth asking again.
    pub(super) fn unreachable(&self, now: Instant) -> Unreachable {
        let pause = self.next_attempt().map_or(PAUSE_MAX, |at| at.saturating_duration_since(now));
        Unreachable { cause: self.last_failure.clone(), retry_after: pause.max(PAUSE_BASE) }
    }

    /// Takes over what the resolver said. Connections to addresses that are gone end with their calls.
    pub(super) fn resolved(
        &mut self,
        resolved: Result<Vec<SocketAddr>, ConnectError>,
        now: Instant,
        dice: f64,
    ) {
        self.resolving = false;
        match resolved {
            Ok(addresses) => {
                (self.resolved_at, self.unresolved, self.resolve_not_before) = (Some(now), 0, None);
                let mut wanted: Vec<SocketAddr> = Vec::new();
                for address in addresses {
                    if wanted.len() < ADDRESSES_MAX && !wanted.contains(&address) {
                        wanted.push(address);
                    }
                }
                self.members.retain(|member| wanted.contains(&member.address));
                wanted.retain(|address| self.members.iter().all(|member| member.address != *address));
                let fresh = |address| Member { address, state: State::Idle, failures: 0 };
                self.members.extend(wanted.into_iter().map(fresh));
                if self.members.is_empty() {
                    self.failures += 1;
                    self.resolved_at = None;
                    self.resolve_not_before = Some(now + PAUSE_MAX);
                }
            }
            Err(error) => {
                self.unresolved += 1;
                self.resolve_not_before = Some(now + pause(self.unresolved, dice));
                self.failed(error);
            }
        }
    }

    /// Takes over how an attempt ended.
    pub(super) fn connected(
        &mut self,
        address: SocketAddr,
        connected: Result<SendRequest<Body>, ConnectError>,
        now: Instant,
        dice: f64,
    ) {
        let member = self.members.iter_mut().find(|member| member.address == address);
        match (member, connected) {
            (Some(member), Ok(sender)) => {
                (member.state, member.failures) = (State::Up((sender, Arc::new(()))), 0);
            }
            (Some(member), Err(error)) => {
                member.failures += 1;
                member.state = State::Paused(now + pause(member.failures, dice));
                // The peer may have moved.
                self.resolved_at = None;
                self.failed(error);
            }
            // It is no address of the peer any more.
            (None, _) => {}
        }
    }

    fn failed(&mut self, error: ConnectError) {
        self.failures += 1;
        self.last_failure = Some(Arc::new(error));
    }

    /// Marks what is to be connected now.
    fn due_connections(&mut self, now: Instant) -> Vec<Job> {
        let mut jobs = Vec::new();
        for member in &mut self.members {
            let due = match &member.state {
                State::Up((sender, _)) if sender.is_closed() => {
                    self.resolved_at = None;
                    true
                }
                State::Idle => true,
                State::Paused(until) => *until <= now,
                State::Up(_) | State::Connecting => false,
            };
            if due {
                member.state = State::Connecting;
                jobs.push(Job::Connect(member.address));
            }
        }
        jobs
    }

    fn is_resolution_due(&self, now: Instant) -> bool {
        let stale = self.resolved_at.is_none_or(|at| now.duration_since(at) >= RESOLVE_INTERVAL);
        stale && !self.resolving && self.resolve_not_before.is_none_or(|at| at <= now)
    }

    fn least_loaded(&mut self) -> Option<Line> {
        self.turn = self.turn.wrapping_add(1);
        let start = self.turn.checked_rem(self.members.len())?;
        let (before, after) = self.members.split_at(start);
        let lines = after.iter().chain(before).filter_map(|member| match &member.state {
            State::Up(line) => Some(line),
            State::Idle | State::Connecting | State::Paused(_) => None,
        });
        lines.min_by_key(|(_, calls)| Arc::strong_count(calls)).cloned()
    }

    fn next_attempt(&self) -> Option<Instant> {
        let pauses = self.members.iter().filter_map(|member| match member.state {
            State::Paused(until) => Some(until),
            State::Idle | State::Connecting | State::Up(_) => None,
        });
        pauses.chain(self.members.is_empty().then_some(self.resolve_not_before).flatten()).min()
    }
}

/// The pause after so many failures in a row: doubling, between half of the cap and the cap, so that callers who
/// lost the same peer do not come back together. `dice` is 0 to 1.
fn pause(failures: u32, dice: f64) -> Duration {
    let cap = PAUSE_BASE.saturating_mul(1 << failures.saturating_sub(1).min(10)).min(PAUSE_MAX);
    cap.mul_f64(0.5 + dice.clamp(0.0, 1.0) / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(address: SocketAddr) -> ConnectError {
        ConnectError::Tcp { address, source: std::io::ErrorKind::ConnectionRefused.into() }
    }

    #[test]
    fn pauses_double_up_to_a_second_and_differ() {
        for (failures, least_ms, most_ms) in
            [(1, 50, 100), (2, 100, 200), (4, 400, 800), (5, 500, 1_000), (99, 500, 1_000)]
        {
            assert_eq!(pause(failures, 0.0).as_millis(), least_ms);
            assert_eq!(pause(failures, 1.0).as_millis(), most_ms);
        }
    }

    #[test]
    fn a_call_is_told_only_of_failures_that_it_waited_for() {
        let (mut members, now) = (Members::default(), Instant::now());
        let address: SocketAddr = "192.0.2.1:1".parse().expect("an address");
        assert_eq!(members.decide(now, 0).0, [Job::Resolve]);
        members.resolved(Ok(vec![address]), now, 0.5);
        assert_eq!(members.decide(now, 0).0, [Job::Connect(address)]);
        members.connected(address, Err(refused(address)), now, 0.5);
        assert!(matches!(members.decide(now, 0).1, Verdict::Down(_)), "the call that waited");

        let later = members.failures();
        let Verdict::Wait { until: Some(until) } = members.decide(now, later).1 else {
            panic!("a call that came later waits for an attempt of its own");
        };
        assert!(until > now && until <= now + PAUSE_MAX);
        let (jobs, verdict) = members.decide(until, later);
        assert!(jobs.contains(&Job::Connect(address)), "{jobs:?}");
        assert!(matches!(verdict, Verdict::Wait { until: None }));
    }

    #[test]
    fn addresses_are_asked_for_again_and_those_gone_forgotten() {
        let (mut members, now) = (Members::default(), Instant::now());
        let address = |text: &str| -> SocketAddr { text.parse().expect("an address") };
        let (old, kept, new) = (address("192.0.2.1:1"), address("192.0.2.2:1"), address("192.0.2.3:1"));
        members.resolved(Ok(vec![old, kept, kept]), now, 0.5);
        assert_eq!(members.decide(now, 0).0, [Job::Connect(old), Job::Connect(kept)]);
        assert_eq!(members.decide(now + RESOLVE_INTERVAL, 0).0, [Job::Resolve]);
        members.resolved(Ok(vec![kept, new]), now + RESOLVE_INTERVAL, 0.5);
        assert_eq!(members.decide(now + RESOLVE_INTERVAL, 0).0, [Job::Connect(new)]);
    }

    #[test]
    fn a_failed_resolution_keeps_what_is_known() {
        let (mut members, now) = (Members::default(), Instant::now());
        let address: SocketAddr = "192.0.2.1:1".parse().expect("an address");
        members.resolved(Ok(vec![address]), now, 0.5);
        let failed = ConnectError::Resolve { host: "h".into(), source: std::io::ErrorKind::TimedOut.into() };
        members.resolved(Err(failed), now, 0.5);
        assert_eq!(members.decide(now, 0).0, [Job::Connect(address)]);
    }
}
