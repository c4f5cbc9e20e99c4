//! Plans and model states as messages.

use std::time::Instant;

use bulkhead_edge::wire;
use bulkhead_proto::router::v1 as pb;
use jiff::Timestamp;

use crate::catalog::{Catalog, Entry};
use crate::circuit::FailureClass;
use crate::clearance::Decision;
use crate::health::ModelState;
use crate::plan::{Excluded, Needs, Plan};

/// The plan, and the rules behind it.
pub(super) fn explanation(
    decision: Decision,
    plan: Plan,
    input_tokens: u64,
    now: Instant,
) -> pb::ExplainRouteResponse {
    let waits = plan.planned.iter().filter(|planned| !planned.wait.is_zero()).map(|planned| {
        let wait = planned.wait.as_millis();
        format!(
            "{} is not called for {wait} ms more, because its server asked for it or a limit has no room; that is waited for",
            planned.name
        )
    });
    pb::ExplainRouteResponse {
        local_only: decision.local_only,
        reasons: decision.reasons.into_iter().chain(waits).collect(),
        planned: plan
            .planned
            .into_iter()
            .map(|planned| pb::PlannedModel {
                model: planned.name,
                local: planned.local,
                attempts_max: planned.attempts_max,
                wait: Some(wire::duration(planned.wait)),
            })
            .collect(),
        excluded: plan.excluded.into_iter().map(|excluded| left_out(excluded, now)).collect(),
        input_tokens,
        ..pb::ExplainRouteResponse::default()
    }
}

fn left_out(excluded: Excluded, now: Instant) -> pb::ExcludedModel {
    pb::ExcludedModel {
        model: excluded.name,
        reason: excluded.reason.as_str().to_owned(),
        detail: excluded.detail,
        retry_after: excluded.until.map(|until| wire::duration(until.saturating_duration_since(now))),
    }
}

/// Every model by name.
pub(super) fn models(catalog: &Catalog, now: Instant, wall: Timestamp) -> Vec<pb::Model> {
    let entries = catalog.models().iter().enumerate();
    let mut models: Vec<pb::Model> =
        entries.map(|(index, entry)| model(catalog, index, entry, now, wall)).collect();
    models.sort_by(|left, right| left.name.cmp(&right.name));
    models
}

/// The circuits in which something happened since the last answer.
fn circuits(state: &ModelState, now: Instant, wall: Timestamp) -> Vec<pb::Circuit> {
    let told = FailureClass::ALL.into_iter().map(|class| (class, state.circuits().of(class)));
    let told = told.filter(|(_, circuit)| circuit.failures > 0).map(|(class, circuit)| {
        let open_until = circuit.open_until.filter(|until| now < *until);
        let state = match (circuit.open_until, open_until) {
            (None, _) => pb::CircuitState::Closed,
            (Some(_), Some(_)) => pb::CircuitState::Open,
            (Some(_), None) => pb::CircuitState::HalfOpen,
        };
        pb::Circuit {
            failure_class: class.as_str().to_owned(),
            state: state.into(),
            failures: circuit.failures,
            retry_time: open_until.map(|until| wire::timestamp(later(wall, until, now))),
        }
    });
    told.collect()
}

fn model(catalog: &Catalog, index: usize, entry: &Entry, now: Instant, wall: Timestamp) -> pb::Model {
    let (unusable_reason, until) = match catalog.judge(index, Needs::new(false, None), now) {
        Ok(wait) if wait.is_zero() => (String::new(), None),
        Ok(wait) => {
            ("its server or a limit asks for a wait; requests wait for it".to_owned(), Some(now + wait))
        }
        Err(excluded) => (format!("{}: {}", excluded.reason.as_str(), excluded.detail), excluded.until),
    };
    let routes = catalog.routes().iter().filter(|route| route.models().any(|model| model == index));
    let mut routes: Vec<String> = routes.map(|route| route.name.clone()).collect();
    routes.sort();
    let target = entry.upstream.target();
    pb::Model {
        name: entry.name.clone(),
        provider: target.adapter.name.to_owned(),
        provider_model: target.provider_model.clone(),
        local: entry.local,
        usable: unusable_reason.is_empty(),
        unusable_reason,
        retry_time: until.map(|until| wire::timestamp(later(wall, until, now))),
        routes,
        circuits: circuits(&catalog.health().state(index, now), now, wall),
        context_window_tokens: entry.terms.context_window_tokens.unwrap_or(0),
        output_tokens_max: entry.terms.output_tokens_max.unwrap_or(0),
        input_price_usd_micros: entry.terms.price.map(|price| price.input_usd_micros),
        output_price_usd_micros: entry.terms.price.map(|price| price.output_usd_micros),
    }
}

/// The wall-clock time of a moment on the monotonic clock.
fn later(wall: Timestamp, until: Instant, now: Instant) -> Timestamp {
    wall.checked_add(until.saturating_duration_since(now)).unwrap_or(Timestamp::MAX)
}
