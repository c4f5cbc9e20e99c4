//! Tokens that were verified, by their SHA-256.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;

use crate::identity::Identity;

/// Tokens of one generation. With two generations of about 100 bytes an entry the cache has at most 1 MiB.
const GENERATION: usize = 4_096;

/// What a verified token stands for.
#[derive(Debug, Clone)]
pub(super) struct Verified {
    pub(super) identity: Arc<Identity>,
    /// From then on it is not good any more.
    pub(super) expires: Timestamp,
    /// Cancelled when the key that signed it is taken back.
    pub(super) revoked: CancellationToken,
}

/// Bounded, in two generations: what was asked for since the last turn is kept, the rest goes.
#[derive(Debug, Default)]
pub(super) struct Cache {
    young: HashMap<[u8; 32], Verified>,
    old: HashMap<[u8; 32], Verified>,
}

impl Cache {
    /// What is known of a token and still holds.
    pub(super) fn get(&mut self, digest: &[u8; 32], now: Timestamp) -> Option<Verified> {
        if let Some(older) = self.old.remove(digest) {
            self.put(*digest, older);
        }
        let found = self.young.get(digest)?;
        if found.expires <= now || found.revoked.is_cancelled() {
            self.young.remove(digest);
            return None;
        }
        Some(found.clone())
    }

    pub(super) fn put(&mut self, digest: [u8; 32], verified: Verified) {
        if self.young.len() >= GENERATION {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(digest, verified);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Principal, PrincipalKind};

    fn verified(expires: i64) -> Verified {
        let principal =
            Principal { tenant: "t".into(), kind: PrincipalKind::Person, name: "n".into(), owner: None };
        let identity = Identity::new(principal, Vec::new()).expect("valid");
        Verified { identity: Arc::new(identity), expires: at(expires), revoked: CancellationToken::new() }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("in range")
    }

    fn digest(n: usize) -> [u8; 32] {
        let mut digest = [0; 32];
        digest[..8].copy_from_slice(&n.to_be_bytes());
        digest
    }

    #[test]
    fn an_entry_holds_until_it_expires_or_its_key_is_gone() {
        let mut cache = Cache::default();
        let entry = verified(10);
        cache.put(digest(1), entry.clone());
        cache.put(digest(2), verified(10));
        assert!(cache.get(&digest(1), at(9)).is_some());
        entry.revoked.cancel();
        assert!(cache.get(&digest(1), at(9)).is_none());
        assert!(cache.get(&digest(2), at(10)).is_none());
        assert!(cache.get(&digest(3), at(0)).is_none());
    }

    #[test]
    fn what_is_asked_for_stays_and_the_rest_is_bounded() {
        let mut cache = Cache::default();
        for n in 0..10 * GENERATION {
            cache.put(digest(n), verified(10));
            assert!(cache.get(&digest(0), at(0)).is_some(), "forgotten after {n}");
            assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION);
        }
        assert!(cache.get(&digest(1), at(0)).is_none());
    }
}
