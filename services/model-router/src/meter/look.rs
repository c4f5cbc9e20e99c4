//! What money would stand against, if a request came now. Takes nothing.

use std::time::Instant;

use jiff::Timestamp;

use super::{Caller, Denied, Meters};
use crate::ledger::{Exhausted, Purse};
use crate::plan::{Denial, Reason};
use crate::spend::{Cap, Caps, Spend};
use crate::tokens::Size;

/// A look at what the first attempt of a request would meet.
#[derive(Debug)]
pub(crate) struct Look<'m> {
    meters: &'m Meters,
    purse: Purse,
    spend: Spend,
    /// None where only the route is known.
    size: Option<Size>,
}

impl Meters {
    /// Looks, as [`Meters::open`] would begin to count.
    ///
    /// # Errors
    /// When what was spent is not known and cannot be read.
    pub(crate) async fn look(
        &self,
        caller: &Caller,
        size: Option<Size>,
        caps: Caps,
        now: Timestamp,
    ) -> Result<Look<'_>, sqlx::Error> {
        let purse = self.ledger.purse(&caller.principal.tenant, &caller.session_id, now).await?;
        Ok(Look { meters: self, purse, spend: Spend::new(caps), size })
    }
}

impl Look<'_> {
    /// What stands against asking a model, as it would on the way. Of a request whose size is not known only a budget that
    /// is used up does.
    pub(crate) fn denied(&self, model: usize, now: Timestamp) -> Option<Denied> {
        let estimate = match self.size {
            Some(size) => self.meters.estimate(model, size),
            None => Some(0),
        };
        denied(&self.spend, &self.purse, estimate, now)
    }
}

/// The first thing that stands against an attempt that may cost so much.
pub(super) fn denied(spend: &Spend, purse: &Purse, estimate: Option<u64>, now: Timestamp) -> Option<Denied> {
    let capped = spend.may(estimate).map_err(Denied::Cap);
    let paid = || purse.would(estimate.unwrap_or(0), now).map_err(Denied::Exhausted);
    capped.and_then(|()| paid()).err()
}

impl Denied {
    /// In the words of a plan; none for what ends a request and is no model's.
    pub(crate) fn told(&self, now: Instant) -> Option<Denial> {
        let dollars = |micros: u64| format!("${}.{:06}", micros / 1_000_000, micros % 1_000_000);
        let cap = |detail| Some(Denial { reason: Reason::CostLimitReached, until: None, detail });
        match self {
            Self::Exhausted(Exhausted { budget, refused, retry_after }) => Some(Denial {
                reason: Reason::BudgetExhausted,
                until: retry_after.map(|delay| now + delay),
                detail: format!(
                    "the budget {budget} stops at {}; {} of it are spent, {} kept for open calls, and this may cost {}",
                    dollars(refused.stop),
                    dollars(refused.spent),
                    dollars(refused.reserved),
                    dollars(refused.wanted)
                ),
            }),
            Self::Cap(Cap::Cost { max_usd_micros, next_usd_micros, .. }) => cap(format!(
                "it may cost {}, and the request allows {}",
                dollars(*next_usd_micros),
                dollars(*max_usd_micros)
            )),
            Self::Cap(Cap::Unpriced) => {
                cap("the request bounds its cost, and the model has no price".to_owned())
            }
            Self::Cap(Cap::Attempts) => None,
        }
    }
}
