use std::time::Duration;

use redis::{Value, from_redis_value};
use vault_core::clock::Timestamp;
use vault_core::id::{AttemptId, ConnectionKey};
use vault_core::store::{ConnectionRecord, Lease, LeaseAcquire, LeaseHeld, StoreError};

use crate::RedisStore;
use crate::link::Effect;
use crate::record::{self, corrupt};
use crate::script::{ACQUIRE, LEASE, RELEASE, RENEW};

impl RedisStore {
    pub(crate) async fn acquire(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        ttl: Duration,
    ) -> Result<LeaseAcquire, StoreError> {
        let (keys, ttl) = ([self.connection_name(key)], millis(ttl));
        let args = [holder.as_bytes(), ttl.as_bytes()];
        let doing = "acquiring a lease";
        let answer: Vec<Value> =
            self.shared.link.script(doing, &ACQUIRE, &keys, &args, Effect::Write).await?;
        match &answer[..] {
            [] => Ok(LeaseAcquire::Absent),
            [Value::Int(0), Value::Int(remaining)] => {
                let remaining = Duration::from_millis(remaining.unsigned_abs());
                Ok(LeaseAcquire::Held { remaining })
            }
            [Value::Int(1), Value::Int(fence), Value::Int(now), fields @ ..] => {
                let lease = Lease { fence: fence.unsigned_abs(), granted_at: Timestamp::from_millis(*now) };
                Ok(LeaseAcquire::Acquired(lease, Box::new(record(fields)?)))
            }
            _ => Err(corrupt("not an answer of the script")),
        }
    }

    pub(crate) async fn renew(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
        ttl: Duration,
    ) -> Result<bool, StoreError> {
        let (keys, ttl, fence) = ([self.connection_name(key)], millis(ttl), fence.to_string());
        let args = [holder.as_bytes(), ttl.as_bytes(), fence.as_bytes()];
        self.shared.link.script("renewing a lease", &RENEW, &keys, &args, Effect::Write).await
    }

    pub(crate) async fn release(
        &self,
        key: &ConnectionKey,
        holder: AttemptId,
        fence: u64,
    ) -> Result<(), StoreError> {
        let (keys, fence) = ([self.connection_name(key)], fence.to_string());
        let args = [holder.as_bytes().as_slice(), fence.as_bytes()];
        self.shared.link.script("releasing a lease", &RELEASE, &keys, &args, Effect::Write).await
    }

    pub(crate) async fn holder(&self, key: &ConnectionKey) -> Result<Option<LeaseHeld>, StoreError> {
        const NONE: &[&[u8]] = &[];
        let keys = [self.connection_name(key)];
        let doing = "looking at a lease";
        let answer: Option<(Vec<u8>, u64, u64)> =
            match self.shared.link.script(doing, &LEASE, &keys, NONE, Effect::Read).await? {
                Value::Array(none) if none.is_empty() => None,
                held => Some(from_redis_value(held).map_err(|_| corrupt("not an answer of the script"))?),
            };
        answer.map(held).transpose()
    }

    /// Of the node that has the first shard.
    pub(crate) async fn clock(&self) -> Result<Timestamp, StoreError> {
        let (time, at) = (redis::cmd("TIME"), self.shared.names.index(0));
        let doing = "reading the clock";
        let (seconds, micros): (i64, i64) = self.shared.link.run(doing, &at, time, Effect::Read).await?;
        Ok(Timestamp::from_millis(seconds * 1_000 + micros / 1_000))
    }
}

fn record(fields: &[Value]) -> Result<ConnectionRecord, StoreError> {
    match fields {
        [Value::BulkString(record), Value::BulkString(credential), Value::BulkString(refresh)] => {
            record::connection(record, credential.clone(), refresh.clone())
        }
        _ => Err(corrupt("a connection without all its fields")),
    }
}

fn held((holder, fence, remaining): (Vec<u8>, u64, u64)) -> Result<LeaseHeld, StoreError> {
    let holder = holder.try_into().map_err(|_| corrupt("not a holder of a lease"))?;
    let remaining = Duration::from_millis(remaining);
    Ok(LeaseHeld { holder: AttemptId::from_bytes(holder), fence, remaining })
}

/// A span in milliseconds, short enough that a time of day and it add up exactly in the server's arithmetic.
fn millis(span: Duration) -> String {
    const LONGEST: u128 = 1 << 52;
    span.as_millis().min(LONGEST).to_string()
}
