//! Looking approvals up. What is returned is true at the time of asking: see [`Approval::seen_at`].

use bulkhead_edge::page::Page;
use jiff::Timestamp;
use sqlx::Sqlite;
use tokio::sync::watch;

use super::{Change, Desk, DeskError};
use crate::approval::{Approval, ApprovalId};
use crate::store::sqlite::{self, Listed};
use crate::store::{StateFilter, StoreError};

impl Desk {
    /// One approval of a tenant.
    pub(crate) async fn get(&self, tenant: &str, id: ApprovalId, now: Timestamp) -> Change<Approval> {
        let mut snapshot = self.snapshot().await?;
        let found = sqlite::load(&mut snapshot, tenant, id).await?;
        found.map(|approval| approval.seen_at(now)).ok_or(DeskError::NotFound { id })
    }

    /// A page of a tenant's approvals, newest first.
    pub(crate) async fn list(
        &self,
        tenant: &str,
        filter: StateFilter,
        page: Page,
        now: Timestamp,
    ) -> Change<Listed> {
        let mut snapshot = self.snapshot().await?;
        let listed = sqlite::list(&mut snapshot, tenant, filter, page, now).await?;
        Ok(Listed { approvals: seen_at(listed.approvals, now), ..listed })
    }

    /// Some of a tenant's approvals that changed after a revision, oldest change first.
    pub(crate) async fn changed_after(
        &self,
        tenant: &str,
        revision: u64,
        now: Timestamp,
    ) -> Change<Vec<Approval>> {
        let mut snapshot = self.snapshot().await?;
        let changed = sqlite::changed_after(&mut snapshot, tenant, revision).await?;
        Ok(seen_at(changed, now))
    }

    /// The revision of a tenant's last change; 0: there was none.
    pub(crate) async fn newest_revision(&self, tenant: &str) -> Change<u64> {
        let mut snapshot = self.snapshot().await?;
        Ok(sqlite::newest_revision(&mut snapshot, tenant).await?)
    }

    /// When the next pending approval expires.
    pub(crate) async fn next_expiry(&self) -> Change<Option<Timestamp>> {
        let mut snapshot = self.snapshot().await?;
        Ok(sqlite::next_expiry(&mut snapshot).await?)
    }

    /// How many wait for people.
    pub(crate) async fn pending(&self) -> Change<u64> {
        let mut snapshot = self.snapshot().await?;
        Ok(sqlite::pending(&mut snapshot).await?)
    }

    /// Told after every change, of any tenant. Says that there is something to read, not what.
    pub(crate) fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// A view of the store that does not change while it is read: an approval and its votes belong together.
    pub(super) async fn snapshot(&self) -> Result<sqlx::Transaction<'static, Sqlite>, StoreError> {
        Ok(self.store.readers().begin().await?)
    }
}

fn seen_at(approvals: Vec<Approval>, now: Timestamp) -> Vec<Approval> {
    approvals.into_iter().map(|approval| approval.seen_at(now)).collect()
}
