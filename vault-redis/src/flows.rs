use std::time::Duration;

use async_trait::async_trait;
use vault_core::clock::Timestamp;
use vault_core::id::{ConnectorId, Owner, TenantId};
use vault_core::store::{FlowInsert, FlowRecord, FlowStore, StoreError};

use crate::join::all;
use crate::link::Effect;
use crate::names::{ID, moment, place, place_is_of};
use crate::script::{FINISH, MOVE, RESERVE, TAKE};
use crate::{RedisStore, record};

/// The shortest that the server can keep a flow: one that has expired already is answered for like any other.
const SHORTEST: Duration = Duration::from_millis(1);
/// The longest that a flow is kept, whatever it says: the server's clock must be able to count to its end.
const LONGEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// A place outlives its flow by so much: the flow may be taken in its last moment, and gets another place only then.
const GRACE: Duration = Duration::from_secs(2);
/// Before a flow that was taken. Nothing of ours begins so.
const TAKEN: &[u8] = b"\xff";

/// A flow is one key that the server expires, named by its hash alone. Beside it, each owner has a set of the places
/// that flows take, for the cap and for `cancel`. The two are on different nodes of a cluster: a place is reserved first
/// and given back last, so that flows may be fewer than places but never more.
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
            self.give_back(&places, &[place]).await?;
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
        let places = self.shared.names.places(&flow.tenant, &flow.owner);
        let place = |expires_at| place(expires_at, &flow.connector, state_hash);
        // Only while it has its place a `cancel` finds it: without, nobody gets it.
        let args = [place(flow.expires_at), place(until), millis(left + GRACE)];
        let doing = "moving a flow's place";
        let (): () = self.shared.link.script(doing, &MOVE, &[places], &args, Effect::Write).await?;
        Ok(Some(FlowRecord { expires_at: until, ..flow }))
    }

    async fn finish(&self, taken: &FlowRecord) -> Result<bool, StoreError> {
        let keys = [self.shared.names.flow(&taken.state_hash)];
        let finished: bool =
            self.shared.link.script("finishing a flow", &FINISH, &keys, &[TAKEN], Effect::Write).await?;
        let places = self.shared.names.places(&taken.tenant, &taken.owner);
        let place = place(taken.expires_at, &taken.connector, &taken.state_hash);
        // A place that stays behind ends when the flow would have.
        let _ = self.give_back(&places, &[place]).await;
        Ok(finished)
    }

    async fn cancel(
        &self,
        tenant: &TenantId,
        owner: &Owner,
        connector: Option<&ConnectorId>,
    ) -> Result<u64, StoreError> {
        let places = self.shared.names.places(tenant, owner);
        let mut range = redis::cmd("ZRANGE");
        range.arg(&places).arg(0).arg(-1);
        let mut taken: Vec<String> =
            self.shared.link.run("finding an owner's flows", &places, range, Effect::Read).await?;
        taken.retain(|place| connector.is_none_or(|connector| place_is_of(place, connector)));
        let removed = all(taken.iter().map(|place| self.remove(place))).await?;
        // A place without a flow may be of one that is just being stored.
        let removed: Vec<String> =
            taken.into_iter().zip(removed).filter(|(_, removed)| *removed).map(|(place, _)| place).collect();
        if !removed.is_empty() {
            self.give_back(&places, &removed).await?;
        }
        Ok(removed.len() as u64)
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
        let kept = moment(now.saturating_sub(GRACE));
        let args = [&unexpired, &kept, place, &cap.to_string(), &millis(left + GRACE)];
        let doing = "reserving a place for a flow";
        self.shared.link.script(doing, &RESERVE, &[places.to_owned()], &args, Effect::Write).await
    }

    async fn give_back(&self, places: &str, given: &[String]) -> Result<(), StoreError> {
        let mut remove = redis::cmd("ZREM");
        remove.arg(places).arg(given);
        self.shared.link.run("giving back a flow's place", places, remove, Effect::Write).await
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
