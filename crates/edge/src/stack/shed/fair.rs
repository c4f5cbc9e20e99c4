//! Who gets a place when there are fewer places than calls: plain data and plain decisions.
//!
//! A *share* is whoever places are divided among; the stack makes one of each tenant. A share may hold every
//! place while no other wants one. Once there are none left, calls wait in a short queue, and a place that
//! becomes free goes to the waiting share that holds the fewest (max-min fairness), so that a newcomer is
//! next whatever the others hold. When the queue is full as well, the newest call of the share that waits for
//! most makes room for a call of a share that waits for less.
//!
//! Where nobody can wait, because places are held for long, some are always left: a share may hold at most as many
//! as are free (the dynamic threshold of Choudhury and Hahne, 1998, with a factor of one). One alone gets half of
//! them, the next half of the rest: of 1,024 places ten greedy shares leave none, and as their holders end, shares
//! become equal.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// Names a call that waits. Later calls have greater tickets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Ticket(u64);

/// What becomes of a call that asks for a place.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It has one.
    Admit,
    /// It waits; where the queue was full, another call was put out for it.
    Queue {
        /// Its own.
        ticket: Ticket,
        /// Of the call that must go.
        instead_of: Option<Ticket>,
    },
    /// There is no room for it.
    Shed,
}

/// How many calls may run and wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) places: usize,
    queue: usize,
    /// Whether a share may hold only as many places as are free.
    leaves_room: bool,
}

impl Bounds {
    pub(super) fn queueing(places: usize, queue: usize) -> Self {
        Self { places, queue, leaves_room: false }
    }

    pub(super) fn leaving_room(places: usize) -> Self {
        Self { places, queue: 0, leaves_room: true }
    }
}

/// Every place and every call that waits for one.
#[derive(Debug)]
pub(super) struct Fair {
    bounds: Bounds,
    free: usize,
    waiting: usize,
    next: u64,
    shares: HashMap<Arc<str>, Share>,
}

#[derive(Debug, Default)]
struct Share {
    held: usize,
    queue: VecDeque<Ticket>,
}

impl Fair {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self { bounds, free: bounds.places, waiting: 0, next: 0, shares: HashMap::new() }
    }

    /// Decides on a call of `share`.
    pub(super) fn arrive(&mut self, share: &Arc<str>) -> Verdict {
        let needed = if self.bounds.leaves_room { self.held(share) + 1 } else { 1 };
        if self.free >= needed {
            self.free -= 1;
            self.share(share).held += 1;
            return Verdict::Admit;
        }
        let instead_of = if self.waiting < self.bounds.queue {
            None
        } else {
            match self.put_out_for(share) {
                Some(ticket) => Some(ticket),
                None => return Verdict::Shed,
            }
        };
        let ticket = Ticket(self.next);
        self.next += 1;
        self.waiting += 1;
        self.share(share).queue.push_back(ticket);
        Verdict::Queue { ticket, instead_of }
    }

    /// Takes a place back from `share` and gives it to a waiting call, if there is one.
    pub(super) fn leave(&mut self, share: &str) -> Option<(Ticket, Arc<str>)> {
        if let Some(left) = self.shares.get_mut(share) {
            left.held = left.held.saturating_sub(1);
        }
        let admitted = self.admit_next();
        if admitted.is_none() {
            self.free += 1;
        }
        self.forget_if_idle(share);
        admitted
    }

    /// Forgets a call that waits no longer. False when it does not wait: it has been admitted or put out.
    pub(super) fn give_up(&mut self, share: &str, ticket: Ticket) -> bool {
        let Some(waits) = self.shares.get_mut(share) else { return false };
        let Some(at) = waits.queue.iter().position(|waiting| *waiting == ticket) else { return false };
        waits.queue.remove(at);
        self.waiting -= 1;
        self.forget_if_idle(share);
        true
    }

    /// Whether it is the share, not the service, that has too much to do: places are left for others, or it holds
    /// more than an equal part while others hold or want places.
    pub(super) fn is_over_its_part(&self, share: &str) -> bool {
        let shares = self.shares.len();
        self.free > 0 || shares > 1 && self.held(share) * shares > self.bounds.places
    }

    /// The name of a share as it is kept, so that names are not copied for each call.
    pub(super) fn name(&self, share: &str) -> Arc<str> {
        self.shares.get_key_value(share).map_or_else(|| share.into(), |(name, _)| Arc::clone(name))
    }

    fn held(&self, share: &str) -> usize {
        self.shares.get(share).map_or(0, |share| share.held)
    }

    fn share(&mut self, name: &Arc<str>) -> &mut Share {
        self.shares.entry(Arc::clone(name)).or_default()
    }

    fn forget_if_idle(&mut self, name: &str) {
        if self.shares.get(name).is_some_and(|share| share.held == 0 && share.queue.is_empty()) {
            self.shares.remove(name);
        }
    }

    /// The share with the fewest places goes first; of equals the one that has waited longest.
    fn admit_next(&mut self) -> Option<(Ticket, Arc<str>)> {
        let waiting = self.shares.iter_mut().filter(|(_, share)| !share.queue.is_empty());
        let (name, share) = waiting.min_by_key(|(_, share)| (share.held, share.queue.front().copied()))?;
        let ticket = share.queue.pop_front()?;
        share.held += 1;
        self.waiting -= 1;
        Some((ticket, Arc::clone(name)))
    }

    /// Makes room in a full queue for a call of `share`, at the cost of a share with more claims than it.
    fn put_out_for(&mut self, share: &str) -> Option<Ticket> {
        let claims = |share: &Share| share.held + share.queue.len();
        let own = self.shares.get(share).map_or(0, claims);
        let waiting = self.shares.values_mut().filter(|share| !share.queue.is_empty());
        let greediest = waiting.max_by_key(|share| (claims(share), share.queue.back().copied()))?;
        if claims(greediest) <= own + 1 {
            return None;
        }
        let ticket = greediest.queue.pop_back()?;
        self.waiting -= 1;
        Some(ticket)
    }
}

#[cfg(test)]
mod tests;
