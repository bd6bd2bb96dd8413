use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use super::{PAGE, RevokePace, RevokeReport};
use crate::core::Core;
use crate::error::Error;
use crate::id::{ConnectorId, TenantId};
use crate::revocation::{Settled, claim_and_settle};
use crate::store::{Page, RevocationRecord};

/// After so many failures in a row, the rest of a connector is left to maintenance.
const FAILURES: u32 = 5;
/// A provider that asks for more is asked again after this.
const LONGEST_PAUSE: Duration = Duration::from_secs(60 * 60);

/// Pays what one connector owes.
pub(super) struct Payer<'a> {
    core: &'a Arc<Core>,
    pace: RevokePace,
    running: JoinSet<Result<Option<Settled>, Error>>,
    /// On the monotonic clock.
    next_at: Duration,
    failures: u32,
    pub(super) report: RevokeReport,
}

impl<'a> Payer<'a> {
    pub(super) fn new(core: &'a Arc<Core>, pace: RevokePace) -> Self {
        let next_at = core.clock.monotonic();
        Self { core, pace, running: JoinSet::new(), next_at, failures: 0, report: RevokeReport::default() }
    }

    pub(super) async fn pay(&mut self, tenant: &TenantId, connector: &ConnectorId) -> Result<(), Error> {
        let mut page = Page::first(PAGE);
        while let Some(items) = owed_page(self.core, tenant, &mut page).await? {
            for record in items.into_iter().filter(|owed| owed.key.connector == *connector) {
                // What was tried before keeps the pause that it was given.
                let waits = record.attempts > 0 && record.due_at > self.core.now();
                if waits || self.failures >= FAILURES {
                    self.report.pending += 1;
                    continue;
                }
                self.wait_for_turn().await?;
                if self.failures >= FAILURES {
                    self.report.pending += 1;
                } else {
                    self.start(record);
                }
            }
        }
        while let Some(done) = self.running.join_next().await {
            self.note(done.unwrap_or(Ok(None)));
        }
        Ok(())
    }

    fn start(&mut self, record: RevocationRecord) {
        self.next_at += Duration::from_secs(1) / self.pace.per_second;
        let task = Arc::clone(self.core);
        self.running.spawn(async move {
            let worker = Arc::clone(&task);
            task.detached(async move { claim_and_settle(&worker, record).await }).await
        });
    }

    /// Until there is room, the pace allows one more, and the provider's pause is over.
    async fn wait_for_turn(&mut self) -> Result<(), Error> {
        loop {
            self.core.check_open()?;
            while let Some(done) = self.running.try_join_next() {
                self.note(done.unwrap_or(Ok(None)));
            }
            let now = self.core.clock.monotonic();
            if self.running.len() >= self.pace.concurrency {
                if let Some(done) = self.running.join_next().await {
                    self.note(done.unwrap_or(Ok(None)));
                }
            } else if self.failures >= FAILURES {
                return Ok(());
            } else if now < self.next_at {
                tokio::select! {
                    biased;
                    Some(done) = self.running.join_next() => self.note(done.unwrap_or(Ok(None))),
                    () = self.core.clock.sleep(self.next_at - now) => {}
                }
            } else {
                // No burst to make up for a pause.
                self.next_at = now;
                return Ok(());
            }
        }
    }

    fn note(&mut self, done: Result<Option<Settled>, Error>) {
        let settled = match done {
            Ok(Some(settled)) => settled,
            // Another process has it.
            Ok(None) => return,
            Err(error) => {
                self.report.pending += 1;
                self.report.stopped = Some(error);
                return;
            }
        };
        self.report.count(settled.outcome);
        if let Some(asked) = settled.asked() {
            self.next_at = self.next_at.max(self.core.clock.monotonic() + asked.min(LONGEST_PAUSE));
        } else if settled.error.is_some() {
            self.failures += 1;
        } else {
            self.failures = 0;
        }
    }
}

/// The next page of what a tenant owes; `None` after the last.
pub(super) async fn owed_page(
    core: &Core,
    tenant: &TenantId,
    page: &mut Page,
) -> Result<Option<Vec<RevocationRecord>>, Error> {
    if page.limit == 0 {
        return Ok(None);
    }
    let listed = core.stores.connections.list_owed(tenant, None, page).await?;
    page.after = listed.next;
    if page.after.is_none() {
        page.limit = 0;
    }
    Ok(Some(listed.items))
}
