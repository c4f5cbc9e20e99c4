//! Everything that a run has brought to light: what agents and the person were told, what an observer saw, what is on
//! disk, and how long it took to come to rest.

use std::collections::BTreeMap;

use super::claim::{Asked, Claim, Decided};
use super::observer::Seen;
use super::probe::Look;
use super::record::Records;

/// The facts. Invariants are functions of them and of nothing else.
#[derive(Debug, Clone, Default)]
pub(super) struct Evidence {
    /// What agents were told of tools.
    pub(super) claims: Vec<Claim>,
    /// What agents were told of models.
    pub(super) asked: Vec<Asked>,
    /// What the person decided.
    pub(super) decided: Vec<Decided>,
    /// What was seen from outside.
    pub(super) seen: Seen,
    /// What is on disk.
    pub(super) records: Records,
    /// What went on and what stopped while something was out.
    pub(super) looks: Vec<Look>,
    /// Error answers, and how often each came.
    pub(super) errors: BTreeMap<String, u64>,
    /// Whether no clock was made to step, so that times of services can be held against ours.
    pub(super) clocks_are_right: bool,
    /// What had not come to rest within the bound.
    pub(super) restless: Vec<String>,
}
