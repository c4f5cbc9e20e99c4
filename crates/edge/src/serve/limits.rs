//! How many connections there may be, and of whom.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What bounds the connections of one listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionLimits {
    /// Connections that may be open; the next ones wait in the listener's queue.
    pub max: usize,
    /// Of these, how many may come from one address; the next ones are closed at once.
    pub per_address_max: usize,
    /// How long a connection may be without a call before it is closed politely.
    pub idle_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            // Well below the 1,024 file descriptors that processes usually get, since stores and peers need some.
            max: 768,
            // A third, so that no one address can take all. One gRPC client needs one connection.
            per_address_max: 256,
            // Ten minutes: longer than the pauses of a busy agent, shorter than what firewalls forget silently.
            idle_timeout: Duration::from_secs(600),
        }
    }
}

/// The places of one listener.
#[derive(Debug)]
pub(super) struct Places {
    free: Arc<Semaphore>,
    per_address_max: usize,
    taken: Mutex<HashMap<IpAddr, usize>>,
}

/// A place for a connection that may come.
#[derive(Debug)]
pub(super) struct FreePlace(OwnedSemaphorePermit);

/// A place that a connection holds until this is dropped.
#[derive(Debug)]
pub(super) struct Place {
    _taken: OwnedSemaphorePermit,
    of: IpAddr,
    places: Arc<Places>,
}

impl Places {
    pub(super) fn new(limits: &ConnectionLimits) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(limits.max)),
            per_address_max: limits.per_address_max,
            taken: Mutex::default(),
        })
    }

    /// Waits for a place.
    pub(super) async fn free(&self) -> std::io::Result<FreePlace> {
        Arc::clone(&self.free).acquire_owned().await.map(FreePlace).map_err(std::io::Error::other)
    }

    /// Gives a place to a connection from an address, unless those hold all that they may.
    pub(super) fn take(self: &Arc<Self>, free: FreePlace, address: IpAddr) -> Option<Place> {
        let of = holder(address);
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let held = taken.entry(of).or_default();
        if *held >= self.per_address_max {
            return None;
        }
        *held += 1;
        Some(Place { _taken: free.0, of, places: Arc::clone(self) })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Entry::Occupied(mut held) = taken.entry(self.of) {
            *held.get_mut() -= 1;
            if *held.get() == 0 {
                held.remove();
            }
        }
    }
}

/// Who an address counts for. Of IPv6 the first 64 bits, since whoever has one such address has 2⁶⁴ of them.
fn holder(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) if address.is_loopback() => address.into(),
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_address_cannot_take_every_place() {
        let limits = ConnectionLimits { max: 4, per_address_max: 2, ..ConnectionLimits::default() };
        let places = Places::new(&limits);
        let take = async |address: &str| {
            let free = places.free().await.expect("a place");
            places.take(free, address.parse().expect("an address"))
        };
        let first = take("192.0.2.1").await.expect("the first");
        let _second = take("::ffff:192.0.2.1").await.expect("the second");
        assert!(take("192.0.2.1").await.is_none(), "a third of the same");
        let _other = take("192.0.2.2").await.expect("another address");
        drop(first);
        let _again = take("192.0.2.1").await.expect("a place was given back");
    }

    #[tokio::test]
    async fn addresses_of_one_ipv6_network_count_as_one() {
        let limits = ConnectionLimits { max: 4, per_address_max: 1, ..ConnectionLimits::default() };
        let places = Places::new(&limits);
        let free = places.free().await.expect("a place");
        let _held = places.take(free, "2001:db8::1".parse().expect("an address")).expect("the first");
        let free = places.free().await.expect("a place");
        assert!(places.take(free, "2001:db8::ffff:1".parse().expect("an address")).is_none());
        let free = places.free().await.expect("a place");
        assert!(places.take(free, "2001:db8:0:1::1".parse().expect("an address")).is_some());
    }
}
