use std::time::Duration;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, TenantId};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore, StoreError};

use crate::join::all;
use crate::link::Effect;
use crate::names::{ID, connector_in_place, moment, place, taken_place};
use crate::script::{CANCEL, MOVE, RESERVE, TAKE};
use crate::{RedisStore, record};

/// The shortest that the server can keep a flow: one that has expired already is answered for like any other.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest that a flow is kept, whatever it says: the server's clock must be able to count to its end.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A place outlives its flow by so much: the flow may be taken in its last moment, and gets another place only then.
const GRACE: Duration = Duration::from_secs(2);
/// A place is cleared away so long after its flow has expired by the clock of whoever clears: others' may be behind.
const CLOCKS: Duration = Duration::from_secs(2 * 60);
/// Before a flow that was taken. Nothing of ours begins so.
const TAKEN: &[u8] = b"\xff";

/// A flow is one key that the server expires, named by its hash alone. Beside it, each owner has a set of the places
/// that flows take, for the cap and for `cancel`. The two may be on different nodes of a cluster. A flow without its place is
/// of no use: the place is reserved first and goes first. It is where the owner's connections are, so that a flow can end
/// in the write of one.
#[async_trait]
impl FlowStore for RedisStore {
    async fn insert(&self, record: &FlowRecord, cap: u32, now: Timestamp) -> Result<FlowInsert, StoreError> {
        let left = span(record.expires_at, now);
        let places = self.shared.names.places(&record.tenant, &record.owner);
        let place = place(record.expires_at, &record.connector, &record.state_hash);
        let reserved = self.reserve(&places, &place, cap, now, left).await?;
        let name = self.shared.names.flow(&record.state_hash);
        if reserved < 0 {
            let mut exists = redis::cmd("EXISTS");
            exists.arg(&name);
            let exists = self.shared.link.run("looking for a flow", &name, exists, Effect::Read).await?;
            return Ok(if exists { FlowInsert::Exists } else { FlowInsert::TooMany });
        }
        let mut set = redis::cmd("SET");
        set.arg(&name).arg(record::from_flow(record)).arg("NX").arg("PX").arg(millis(left));
        let stored: Option<()> = self.shared.link.run("storing a flow", &name, set, Effect::Write).await?;
        if stored.is_some() {
            return Ok(FlowInsert::Inserted);
        }
        if reserved > 0 {
            self.give_back(&places, &place).await?;
        }
        Ok(FlowInsert::Exists)
    }

    async fn take(
        &self,
        state_hash: &[u8; 32],
        until: Timestamp,
        now: Timestamp,
    ) -> Result<Option<FlowRecord>, StoreError> {
        let (keys, left) = ([self.shared.names.flow(state_hash)], span(until, now));
        let args = [TAKEN, &millis(left).into_bytes()];
        let taken: Option<Vec<u8>> =
            self.shared.link.script("taking a flow", &TAKE, &keys, &args, Effect::Write).await?;
        let Some(taken) = taken else { return Ok(None) };
        let flow = record::flow(&taken)?;
        let pending = place(flow.expires_at, &flow.connector, state_hash);
        let flow = FlowRecord { expires_at: until, ..flow };
        let (places, place) = self.place_of(&flow);
        // Only while it has its place a `cancel` finds it: without, nobody gets it.
        let args = [pending, place, millis(left + GRACE)];
        let doing = "moving a flow's place";
        let moved: bool = self.shared.link.script(doing, &MOVE, &[places], &args, Effect::Write).await?;
        Ok(moved.then_some(flow))
    }

    async fn finish(&self, taken: &FlowRecord) -> Result<bool, StoreError> {
        let (places, place) = self.place_of(taken);
        let finished = self.give_back(&places, &place).await?;
        if finished {
            self.forget(&place).await;
        }
        Ok(finished)
    }

    async fn cancel(
        &self,
        tenant: &TenantId,
        owner: &Owner,
        connector: Option<&ConnectorId>,
    ) -> Result<u64, StoreError> {
        let keys = [self.shared.names.places(tenant, owner)];
        let (at, connector) = connector_in_place(connector);
        let args = [at.to_string(), connector];
        let doing = "cancelling an owner's flows";
        // Their places first: without, a flow that is just being stored or taken is of no use, and no write ends it.
        let places: Vec<String> =
            self.shared.link.script(doing, &CANCEL, &keys, &args, Effect::Write).await?;
        let removed = all(places.iter().map(|place| self.remove(place))).await?;
        Ok(removed.into_iter().filter(|removed| *removed).count() as u64)
    }

    /// The server removes what has expired by itself.
    async fn purge_expired(&self, _now: Timestamp, _limit: u32) -> Result<u64, StoreError> {
        Ok(0)
    }
}

impl RedisStore {
    /// 1 when reserved now, 0 when it was before, -1 when there is none left.
    async fn reserve(
        &self,
        places: &str,
        place: &str,
        cap: u32,
        now: Timestamp,
        left: Duration,
    ) -> Result<i64, StoreError> {
        let unexpired = moment(Timestamp::from_millis(now.as_millis().saturating_add(1)));
        let kept = moment(now.saturating_sub(CLOCKS));
        let args = [&unexpired, &kept, place, &cap.to_string(), &millis(left + GRACE)];
        let doing = "reserving a place for a flow";
        self.shared.link.script(doing, &RESERVE, &[places.to_owned()], &args, Effect::Write).await
    }

    /// Answers whether it was there.
    async fn give_back(&self, places: &str, place: &str) -> Result<bool, StoreError> {
        let mut remove = redis::cmd("ZREM");
        remove.arg(places).arg(place);
        self.shared.link.run("giving back a flow's place", places, remove, Effect::Write).await
    }

    /// The places of a flow's owner, and the one that it has there once it was taken.
    pub(crate) fn place_of(&self, taken: &FlowRecord) -> (String, String) {
        let places = self.shared.names.places(&taken.tenant, &taken.owner);
        (places, taken_place(taken.expires_at, &taken.connector, &taken.state_hash))
    }

    /// Removes what stays of a flow that has no place any more: it does nothing, and would expire.
    pub(crate) async fn forget(&self, place: &str) {
        let _ = self.remove(place).await;
    }

    /// Removes the flow of that place; answers whether there was one.
    async fn remove(&self, place: &str) -> Result<bool, StoreError> {
        let id = place.get(place.len().saturating_sub(ID)..).unwrap_or_default();
        let name = self.shared.names.flow_by_id(id);
        let mut remove = redis::cmd("DEL");
        remove.arg(&name);
        self.shared.link.run("cancelling a flow", &name, remove, Effect::Write).await
    }
}

/// How long the server keeps what expires then.
fn span(expires_at: Timestamp, now: Timestamp) -> Duration {
    expires_at.saturating_since(now).clamp(SHORTEST, LONGEST)
}

fn millis(span: Duration) -> String {
    span.as_millis().to_string()
}
