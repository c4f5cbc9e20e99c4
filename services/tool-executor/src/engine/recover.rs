//! After a crash: what was running is settled before anything new begins.

use std::time::Duration;

use bulkhead_exit::{Exit, Obstacle};
use tracing::Instrument as _;

use super::{Engine, EngineError};
use crate::execution::{Execution, State};
use crate::refusals;
use crate::store::StoreError;
use crate::tool::Outcome;

/// A service that cannot learn what was running does not begin.
impl From<EngineError> for Obstacle {
    fn from(error: EngineError) -> Self {
        let exit = match &error {
            EngineError::Store(StoreError::Corrupt(_)) => Exit::Damaged,
            _ => bulkhead_sqlite::exit_of(&error).unwrap_or(Exit::Failed),
        };
        Self::new(exit, error)
    }
}

impl Engine {
    /// Asks each tool what became of what it was doing when the process died. What waits for people goes on
    /// waiting once [`Engine::start`] is called.
    ///
    /// # Errors
    /// [`EngineError`] when the journal fails; the service must not serve.
    pub async fn recover(&self) -> Result<(), EngineError> {
        for execution in self.journal().all_in(State::Running).await? {
            let span = tracing::info_span!(
                "reconcile_tool",
                otel.name = %format!("reconcile_tool {}", execution.tool),
                gen_ai.tool.name = %execution.tool,
                gen_ai.tool.call.id = %execution.id,
            );
            bulkhead_telemetry::adopt_traceparent(&span, &execution.trace.traceparent);
            self.reconcile(execution).instrument(span).await?;
        }
        Ok(())
    }

    async fn reconcile(&self, execution: Execution) -> Result<(), EngineError> {
        let outcome = match (self.toolbox().find(&execution.tool), &execution.prepared) {
            (Ok(entry), Some(prepared)) => {
                let (id, undoes) = (execution.id, execution.undo_of);
                entry.tool.reconcile(id, &execution.arguments, &prepared.planned, undoes).await
            }
            (Err(_), _) | (_, None) => Outcome::Unknown(refusals::cannot_reconcile(&execution.tool)),
        };
        let settled = self.finish(execution, outcome, Duration::ZERO).await?;
        tracing::info!(
            execution_id = %settled.id, tool = settled.tool, state = settled.state.as_str(),
            "reconciled what was running when the process stopped"
        );
        Ok(())
    }
}
