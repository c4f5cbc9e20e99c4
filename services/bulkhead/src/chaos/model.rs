//! The first model of the chain, and how it is put out.

use std::net::SocketAddr;

use bulkhead_provider_sim::{Action, ControlClient, ControlError, Script, Step};

use super::fault::ModelOutage;

/// Its name at the simulator.
const FIRST: &str = "sim-primary";
/// Anthropic's status for "overloaded".
const OVERLOADED: u16 = 529;

/// The simulator's first model.
#[derive(Debug)]
pub(super) struct FirstModel(ControlClient);

impl FirstModel {
    /// At this simulator.
    pub(super) fn at(simulator: SocketAddr) -> Result<Self, ControlError> {
        Ok(Self(ControlClient::new(simulator)?))
    }

    /// Puts it out.
    pub(super) async fn put_out(&self, how: ModelOutage) -> Result<(), ControlError> {
        let step: Step = match how {
            ModelOutage::Resets => Action::Reset.into(),
            ModelOutage::Overloaded => Step::status(OVERLOADED),
            ModelOutage::Silent => Action::Silence.into(),
        };
        self.0.script(FIRST, &Script::always(step)).await
    }

    /// Lets it answer again.
    pub(super) async fn bring_back(&self) -> Result<(), ControlError> {
        self.0.clear_scripts(Some(FIRST)).await
    }
}
