//! Connectors as they were a moment ago: an operation that only uses one needs no store round trip for it.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::Cache;

use super::registered::Registered;
use crate::core::Core;
use crate::error::Error;
use crate::id::{ConnectorId, TenantId};

/// Within so long, other processes' changes are followed.
const FOLLOWED: Duration = Duration::from_secs(10);
/// How many stay in memory.
const MANY: usize = 1_000;

/// The tenant is part of the name: what one tenant has opened, no other finds.
type Name = (TenantId, ConnectorId);

/// Opened connectors, each for ten seconds. Callers who need the same one at once share one reading.
#[derive(Debug)]
pub(crate) struct Recent(Cache<Name, Opened>);

#[derive(Clone)]
struct Opened {
    registered: Arc<Registered>,
    /// By the monotonic clock, before the store was asked.
    asked_at: Duration,
}

impl Recent {
    pub(crate) fn new() -> Self {
        Self(Cache::new(MANY))
    }

    /// This process has changed it, or may have. What is being read meanwhile is not kept either.
    pub(super) fn forget(&self, tenant: &TenantId, id: &ConnectorId) {
        self.0.remove(&(tenant.clone(), id.clone()));
    }
}

impl Core {
    /// The connector as it is, or was at most ten seconds ago if another process changed it since.
    pub(crate) async fn registered(
        &self,
        tenant: &TenantId,
        id: &ConnectorId,
    ) -> Result<Arc<Registered>, Error> {
        let (name, now) = ((tenant.clone(), id.clone()), self.clock.monotonic());
        self.connectors.0.remove_if(&name, |opened| now >= opened.asked_at.saturating_add(FOLLOWED));
        let open = async {
            let asked_at = self.clock.monotonic();
            let registered = Arc::new(self.stored_connector(tenant, id).await?);
            Ok::<_, Error>(Opened { registered, asked_at })
        };
        Ok(self.connectors.0.get_or_insert_async(&name, open).await?.registered)
    }

    /// What another process has made of the connector since `seen` was read; `None` when it is still that. For a
    /// provider that refuses the client: it may have a new secret.
    pub(crate) async fn changed_since(&self, seen: &Registered) -> Result<Option<Arc<Registered>>, Error> {
        let record = &seen.record;
        self.connectors.forget(&record.tenant, &record.id);
        let now = self.registered(&record.tenant, &record.id).await?;
        Ok(Some(now).filter(|now| now.record.version != record.version))
    }
}
