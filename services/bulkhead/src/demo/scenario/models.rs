//! What the models saw, according to the simulator's own record.

use bulkhead_proto::router::v1::GenerateResponse;
use bulkhead_provider_sim::RecordedRequest;

use super::Stage;
use crate::demo::evidence::SeenBy;
use crate::demo::script::{FALLBACK, LOCAL, PRIMARY, TOLD_SECONDS};

/// The turn in which the primary is down.
const DOWN_TURN: u32 = 2;

impl Stage<'_> {
    /// Compares what the router reports of a turn with what the models received in it.
    pub(super) async fn measure_turn(
        &mut self,
        turn: u32,
        response: &GenerateResponse,
    ) -> anyhow::Result<()> {
        let seen = self.control.requests(None).await?.requests.len();
        if turn == DOWN_TURN {
            self.evidence.down_answered_by.clone_from(&response.model);
            self.evidence.down_attempts_reported = response.attempts.len();
            self.evidence.down_attempts_seen = seen - self.requests_before_turn;
        }
        self.requests_before_turn = seen;
        Ok(())
    }

    /// Looks for the wait after the 429, and for the secret in every request that any model received.
    pub(super) async fn measure_models(&mut self) -> anyhow::Result<()> {
        let primary = self.control.requests(Some(PRIMARY)).await?.requests;
        #[expect(
            clippy::as_conversions,
            clippy::cast_precision_loss,
            reason = "two seconds are exact in a float"
        )]
        let told = TOLD_SECONDS as f64;
        self.evidence.delay_told_seconds = told;
        self.evidence.delay_waited_seconds = first_gap_seconds(&primary);
        self.evidence.secret_seen = SeenBy {
            primary: self.holding_secret(&primary),
            fallback: self.holding_secret(&self.control.requests(Some(FALLBACK)).await?.requests),
            local: self.holding_secret(&self.control.requests(Some(LOCAL)).await?.requests),
        };
        Ok(())
    }

    fn holding_secret(&self, requests: &[RecordedRequest]) -> usize {
        let secret = self.workspace.secret();
        requests.iter().filter(|request| request.body.to_string().contains(secret)).count()
    }
}

/// From the answer to the first request to the arrival of the second.
fn first_gap_seconds(requests: &[RecordedRequest]) -> Option<f64> {
    let [first, second, ..] = requests else { return None };
    let told_at = first.finished_at?;
    Some(second.received_at.duration_since(told_at).as_secs_f64())
}
