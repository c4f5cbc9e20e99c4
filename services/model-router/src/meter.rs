//! What one call takes of limits and of money, from before its first attempt to its end, however it ends.
//!
//! Promises that nothing is sent that a limit, a budget or the request's own caps stand against, and that everything
//! which was kept back for the call is settled when its [`Meter`] is gone: by usage where the provider counted, by
//! estimate where it may have worked and did not say, by nothing where nothing was sent or the provider refused it.

mod look;
mod news;
mod settled;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulkhead_edge::Principal;
use bulkhead_outbox::EventDraft;
use jiff::Timestamp;

use self::news::events;
use self::settled::{prompt_usage, settled, sign};
use crate::attempt::Attempt;
use crate::chat::Usage;
use crate::config::ModelConfig;
use crate::ledger::{Exhausted, Hold, Ledger, Notice, Purse, Savings};
use crate::limit::Limits;
use crate::limit::concurrency::Sign;
use crate::limit::models::{Full, Place, Told};
use crate::limit::rate::{Reservation, Short};
use crate::metrics::PlaceWaits;
use crate::price::{Charge, Price};
use crate::spend::{Cap, Caps, Spend};
use crate::tokens::Size;

/// Opens meters.
#[derive(Debug)]
pub(crate) struct Meters {
    limits: Arc<Limits>,
    ledger: Arc<Ledger>,
    /// By the model's place in the configuration.
    models: Vec<Model>,
}

#[derive(Debug)]
struct Model {
    name: String,
    price: Option<Price>,
    /// Without a price it is known to cost nothing.
    local: bool,
    waits: PlaceWaits,
}

/// Whose call it is.
#[derive(Debug, Clone)]
pub(crate) struct Caller {
    pub(crate) principal: Principal,
    /// Empty: none.
    pub(crate) session_id: String,
}

/// Why a call is not begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
    /// The caller asked for more than a limit allows.
    #[error("a limit of the caller has not enough left")]
    Limited {
        /// Name of the limit.
        limit: String,
        /// What the call may take, by estimate.
        tokens: u64,
        /// After which there is enough; none: it is more than a whole minute has.
        retry_after: Option<Duration>,
    },
    /// A budget is used up.
    #[error("a budget is used up")]
    Exhausted(Exhausted),
    /// What was spent is not known.
    #[error("the store could not be read")]
    Read(#[from] sqlx::Error),
}

/// Why a model is not asked, whatever its health.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Denied {
    /// The request may take no more.
    Cap(Cap),
    /// A budget does not pay for it.
    Exhausted(Exhausted),
}

/// Whether a model may be sent the request now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Yes.
    Open,
    /// Somebody else was faster; the plan knows when to come back.
    Later,
    /// Not within this request.
    Closed,
}

/// What one call takes.
#[derive(Debug)]
pub(crate) struct Meter {
    meters: Arc<Meters>,
    caller: Caller,
    size: Size,
    /// Of the caller's limits.
    reservation: Reservation,
    purse: Purse,
    spend: Spend,
    /// Used by attempts that are over.
    tokens: u64,
    lease: Option<Lease>,
    denied: Option<Denied>,
    notices: Vec<Notice>,
}

/// What one attempt takes.
#[derive(Debug)]
struct Lease {
    place: Place,
    rate: Reservation,
    hold: Hold,
    price: Option<Price>,
    /// What is known of what it used, by estimate.
    usage: Usage,
}

/// What a call leaves behind.
#[derive(Debug)]
pub(crate) struct Closing {
    /// What was spent, for the disk.
    pub(crate) savings: Savings,
    /// About budgets.
    pub(crate) events: Vec<EventDraft>,
    /// For an attempt that was under way; none: there was none, or it has no price.
    pub(crate) charge: Option<Charge>,
}

impl Closing {
    fn of(savings: Savings) -> Self {
        Self { events: savings.events(), savings, charge: None }
    }
}

impl Meters {
    pub(crate) fn new(models: &[ModelConfig], limits: Arc<Limits>, ledger: Arc<Ledger>) -> Arc<Self> {
        let models = models.iter().map(|model| Model {
            name: model.name.clone(),
            price: model.terms.price,
            local: model.local,
            waits: PlaceWaits::default(),
        });
        Arc::new(Self { limits, ledger, models: models.collect() })
    }

    /// Begins to count a call that may be sent to these models.
    ///
    /// # Errors
    /// [`Refusal`]; nothing is taken then.
    pub(crate) async fn open(
        self: &Arc<Self>,
        caller: Caller,
        size: Size,
        chain: impl Iterator<Item = usize>,
        caps: Caps,
    ) -> Result<Meter, Refusal> {
        let now = bulkhead_edge::now();
        let mut purse = self.ledger.purse(&caller.principal.tenant, &caller.session_id, now).await?;
        if let Err(exhausted) = purse.may(0, now) {
            self.ledger.tell(events(purse.notices(), &caller, now));
            return Err(Refusal::Exhausted(exhausted));
        }
        let tokens = chain.map(|model| self.limits.tokens(model, size)).max().unwrap_or(0);
        let began = Instant::now();
        let admitted = self.limits.admit(&caller.principal, tokens, began).await;
        let reservation = admitted.map_err(|short| Refusal::Limited {
            limit: short.key.limit.to_string(),
            tokens,
            retry_after: short.until.map(|until| until.saturating_duration_since(began)),
        })?;
        Ok(Meter {
            meters: Arc::clone(self),
            caller,
            size,
            reservation,
            purse,
            spend: Spend::new(caps),
            tokens: 0,
            lease: None,
            denied: None,
            notices: Vec::new(),
        })
    }

    /// What has to be told although no call was begun; none: nothing has.
    pub(crate) fn untold(&self) -> Option<Closing> {
        self.ledger.is_untold().then(|| Closing::of(self.ledger.save()))
    }

    /// What was spent.
    pub(crate) fn ledger(&self) -> &Arc<Ledger> {
        &self.ledger
    }

    /// What a request may cost at a model; none: nobody knows.
    fn estimate(&self, model: usize, size: Size) -> Option<u64> {
        let known = self.models.get(model)?;
        let output_tokens = self.limits.tokens(model, size).saturating_sub(size.prompt_tokens);
        let usage = Usage { output_tokens, ..prompt_usage(size, known.price) };
        known.price.map(|price| price.cost_usd_micros(usage)).or(known.local.then_some(0))
    }

    fn price(&self, model: usize) -> Option<Price> {
        self.models.get(model).and_then(|model| model.price)
    }

    /// An attempt waited so long for a place at a model.
    fn waited(&self, model: usize, waited: Duration) {
        if let Some(model) = self.models.get(model) {
            model.waits.waited(&model.name, waited);
        }
    }

    fn name(&self, model: usize) -> &str {
        self.models.get(model).map_or("", |model| model.name.as_str())
    }
}

impl Meter {
    /// Keeps back what an attempt with a model may take. Waits for a place there, for so long at most.
    pub(crate) async fn enter(&mut self, model: usize, patience: Duration) -> Entry {
        // One that was kept and not used is given back first.
        self.lease = None;
        let estimate = self.meters.estimate(model, self.size);
        if let Err(denied) = self.afford(estimate) {
            self.denied = Some(denied);
            return Entry::Closed;
        }
        let limits = Arc::clone(&self.meters.limits);
        let began = Instant::now();
        let place = limits.at_a_time().begin(model, self.size.prompt_tokens, patience).await;
        self.meters.waited(model, began.elapsed());
        let place = match place {
            Ok(place) => place,
            Err(Full::Until(_)) => return Entry::Later,
            Err(Full::Open) => {
                tracing::info!(model = self.meters.name(model), "too many requests are open for too long");
                return Entry::Closed;
            }
        };
        let rate = match limits.take(model, self.size, Instant::now()).await {
            Ok(rate) => rate,
            Err(Short { until: Some(_), .. }) => return Entry::Later,
            Err(Short { until: None, .. }) => return Entry::Closed,
        };
        // Others may have spent while this one waited.
        match self.purse.hold(estimate.unwrap_or(0), bulkhead_edge::now()) {
            Ok(hold) => {
                let price = self.meters.price(model);
                // Whatever stood against another model, this one is asked.
                self.denied = None;
                self.lease = Some(Lease { place, rate, hold, price, usage: Usage::default() });
                Entry::Open
            }
            Err(exhausted) => {
                self.denied = Some(Denied::Exhausted(exhausted));
                Entry::Closed
            }
        }
    }

    /// What the next attempt asks is so much: more than the request itself, where a model is told what was wrong.
    pub(crate) fn asks(&mut self, size: Size) {
        self.size = size;
    }

    /// What was kept is not needed now.
    pub(crate) fn leave(&mut self) {
        self.lease = None;
    }

    /// What was kept is used: from now on the provider may work.
    pub(crate) fn sent(&mut self) {
        self.spend.attempt();
        if let Some(lease) = &mut self.lease {
            lease.place.sent();
        }
        let price = self.lease.as_ref().and_then(|lease| lease.price);
        self.count(prompt_usage(self.size, price));
    }

    /// A piece of the answer came that has so many tokens, by estimate.
    pub(crate) fn produced(&mut self, tokens: u64) {
        let Some(lease) = &self.lease else { return };
        let output_tokens = lease.usage.output_tokens.saturating_add(tokens);
        self.count(Usage { output_tokens, ..lease.usage });
    }

    /// The attempt is over. Says what it is charged.
    pub(crate) fn ended(&mut self, attempt: &Attempt) -> Option<Charge> {
        let settled = settled(self.lease.as_ref()?.usage, attempt);
        self.count(settled.usage);
        self.settle(sign(attempt.failure.as_ref()), settled.is_estimate)
    }

    /// Where the provider's word about its own limits goes.
    pub(crate) fn heard(&self) -> Told {
        self.lease.as_ref().map(|lease| lease.place.told()).unwrap_or_default()
    }

    /// Why a model was not asked, if that is why there is no answer.
    pub(crate) fn denied(&mut self) -> Option<Denied> {
        self.denied.take().filter(|denied| *denied != Denied::Cap(Cap::Attempts))
    }

    /// What stands against asking a model now, as for who only looks.
    pub(crate) fn against(&self, model: usize) -> Option<Denied> {
        let estimate = self.meters.estimate(model, self.size);
        look::denied(&self.spend, &self.purse, estimate, bulkhead_edge::now())
    }

    /// The call is over: what it spent, and what has to be told of budgets. A call that was closed is on record, and so
    /// counts for its caller, whether anything was sent or not: a loop of calls that are refused would fill the log.
    pub(crate) fn close(&mut self, now: Timestamp) -> Closing {
        let charge = self.settle(Sign::None, true);
        self.reservation.counts();
        let mut notices = std::mem::take(&mut self.notices);
        notices.append(&mut self.purse.notices());
        self.meters.ledger.tell(events(notices, &self.caller, now));
        Closing { charge, ..Closing::of(self.purse.save()) }
    }

    fn afford(&mut self, estimate: Option<u64>) -> Result<(), Denied> {
        self.spend.may(estimate).map_err(Denied::Cap)?;
        self.purse.may(estimate.unwrap_or(0), bulkhead_edge::now()).map_err(Denied::Exhausted)
    }

    /// So much is used by now, whatever becomes of the rest.
    fn count(&mut self, usage: Usage) {
        let Some(lease) = &mut self.lease else { return };
        lease.usage = usage;
        let tokens = usage.input_tokens.saturating_add(usage.output_tokens);
        lease.rate.used(tokens);
        lease.hold.spent(lease.cost_usd_micros());
        self.reservation.used(self.tokens.saturating_add(tokens));
    }

    /// What was kept for an attempt is given back, but for what was used.
    fn settle(&mut self, sign: Sign, is_estimate: bool) -> Option<Charge> {
        let mut lease = self.lease.take()?;
        lease.place.sign(sign);
        let tokens = lease.usage.input_tokens.saturating_add(lease.usage.output_tokens);
        self.tokens = self.tokens.saturating_add(tokens);
        let usd_micros = lease.cost_usd_micros();
        self.spend.cost(usd_micros);
        self.notices.extend(lease.hold.settle(bulkhead_edge::now()));
        lease.price.map(|_price| Charge { usd_micros, is_estimate })
    }
}

impl Lease {
    fn cost_usd_micros(&self) -> u64 {
        self.price.map_or(0, |price| price.cost_usd_micros(self.usage))
    }
}
