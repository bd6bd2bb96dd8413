//! The two things that every kind of record does: be written with its index entries, and be listed by them.

use std::ops::Range;

use redis::Value;
use vault_core::store::{Condition, Cursor, LeaseHolder, Page, Paged, StoreError, Version};

use crate::RedisStore;
use crate::join::all;
use crate::link::Effect;
use crate::names::Kind;
use crate::record::corrupt;
use crate::script::{LIST, WRITE};

/// How many shards a listing asks at once.
const AT_ONCE: usize = 16;

/// One record of a write: what is to become of it and of its index entries.
pub(crate) struct Entry {
    pub(crate) key: String,
    /// The one entry that a write may replace by another; the record remembers it.
    pub(crate) moving: Option<String>,
    /// Those that stay as long as the record does.
    pub(crate) fixed: Vec<String>,
    /// Empty when the record goes.
    pub(crate) fields: Vec<(&'static str, Vec<u8>)>,
}

/// When a write may happen.
pub(crate) enum When {
    Any,
    Holds(Condition),
}

/// What else happens with a write.
pub(crate) enum Also {
    Nothing,
    /// The lease on the first record ends, if it is this one's.
    Release(LeaseHolder),
    /// A flow ends, and without its place among its owner's there is no write.
    EndFlow {
        places: String,
        place: String,
    },
}

/// How it ended.
#[derive(Clone, Copy)]
pub(crate) enum Outcome {
    Conflict(Option<Version>),
    /// The flow to be ended has no place.
    Ended,
    /// What must be unique is another's.
    Taken,
    Written,
}

/// A record with the index entry that led to it.
pub(crate) struct Row {
    shard: u16,
    pub(crate) entry: String,
    pub(crate) record: Vec<u8>,
}

impl RedisStore {
    /// Writes the first record if it is as it must be, and the others with it. All are of one shard. `unique` is the
    /// length of the beginning of the first record's moving entry that no other entry may have.
    pub(crate) async fn write(
        &self,
        doing: &'static str,
        shard: u16,
        when: When,
        unique: usize,
        also: Also,
        entries: Vec<Entry>,
    ) -> Result<Outcome, StoreError> {
        let when = match when {
            When::Any => "*".to_owned(),
            When::Holds(Condition::Absent) => String::new(),
            When::Holds(Condition::Version(version)) => version.as_i64().to_string(),
        };
        let mut keys = vec![self.shared.names.index(shard)];
        let mut args = vec![when.into_bytes(), unique.to_string().into_bytes()];
        let (released, ended) = match also {
            Also::Nothing => ([Vec::new(), Vec::new()], None),
            Also::Release(LeaseHolder { holder, fence }) => {
                ([holder.as_bytes().to_vec(), fence.to_string().into()], None)
            }
            Also::EndFlow { places, place } => ([Vec::new(), Vec::new()], Some((places, place))),
        };
        let (places, place) = ended.unzip();
        args.extend(released);
        args.push(place.unwrap_or_default().into());
        for entry in entries {
            keys.push(entry.key);
            args.push(entry.moving.unwrap_or_default().into_bytes());
            args.push(entry.fixed.len().to_string().into_bytes());
            args.extend(entry.fixed.into_iter().map(String::into_bytes));
            args.push((2 * entry.fields.len()).to_string().into_bytes());
            for (field, value) in entry.fields {
                args.push(field.into());
                args.push(value);
            }
        }
        keys.extend(places);
        match self.shared.link.script(doing, &WRITE, &keys, &args, Effect::Write).await? {
            Value::Int(1) => Ok(Outcome::Written),
            Value::Int(-1) => Ok(Outcome::Ended),
            Value::Int(_) => Ok(Outcome::Taken),
            Value::BulkString(there) if there.is_empty() => Ok(Outcome::Conflict(None)),
            Value::BulkString(there) => {
                let version = std::str::from_utf8(&there).ok().and_then(|there| there.parse().ok());
                let version = version.ok_or(corrupt("not a version"))?;
                Ok(Outcome::Conflict(Some(Version::from_i64(version))))
            }
            _ => Err(corrupt("not an answer of the script")),
        }
    }

    /// The first records of a shard whose entries lie between two bounds, as `ZRANGEBYLEX` has them.
    pub(crate) async fn rows(
        &self,
        doing: &'static str,
        shard: u16,
        kind: Kind,
        bounds: &Bounds,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let names = &self.shared.names;
        let free = if bounds.free { "free" } else { "" };
        let (limit, length) = (limit.to_string(), kind.id_length().to_string());
        let args = [&bounds.from, &bounds.to, &limit, &names.records(shard, kind), &length, free];
        let keys = [names.index(shard)];
        let flat: Vec<Vec<u8>> = self.shared.link.script(doing, &LIST, &keys, &args, Effect::Read).await?;
        let (pairs, _) = flat.as_chunks::<2>();
        let rows = pairs.iter().map(|[entry, record]| {
            let entry = String::from_utf8(entry.clone()).map_err(|_| corrupt("not an index entry"))?;
            Ok(Row { shard, entry, record: record.clone() })
        });
        rows.collect()
    }

    /// A page of the records whose entries begin with `prefix`, shard by shard. The cursor is the shard and the entry
    /// where the page ended, so that nothing which comes or goes can move it.
    pub(crate) async fn page<T>(
        &self,
        doing: &'static str,
        shards: Range<u16>,
        kind: Kind,
        prefix: &str,
        page: &Page,
        read: impl Fn(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Paged<T>, StoreError> {
        let limit = usize::try_from(page.limit.max(1)).unwrap_or(usize::MAX);
        let (first, mut after) = start(page, &shards);
        let mut rows: Vec<Row> = Vec::new();
        let shards: Vec<u16> = (first..shards.end).collect();
        for batch in shards.chunks(AT_ONCE) {
            let wanted = limit.saturating_add(1) - rows.len();
            let bounds: Vec<_> = batch.iter().map(|_| Bounds::under(prefix).after(after.take())).collect();
            let lists = batch.iter().zip(&bounds);
            let lists = lists.map(|(&shard, bounds)| self.rows(doing, shard, kind, bounds, wanted));
            rows.extend(all(lists).await?.into_iter().flatten());
            if rows.len() > limit {
                break;
            }
        }
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next = rows.last().filter(|_| more).map(cursor);
        let items = rows.iter().map(|row| read(&row.record)).collect::<Result<_, _>>()?;
        Ok(Paged { items, next })
    }

    /// The first records of all shards, by the order of their entries.
    pub(crate) async fn earliest<T>(
        &self,
        doing: &'static str,
        kind: Kind,
        bounds: &Bounds,
        limit: u32,
        read: impl Fn(&[u8]) -> Result<T, StoreError>,
    ) -> Result<Vec<T>, StoreError> {
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(Vec::new());
        }
        let lists = (0..self.shared.names.shards).map(|shard| self.rows(doing, shard, kind, bounds, limit));
        let mut rows: Vec<Row> = all(lists).await?.into_iter().flatten().collect();
        rows.sort_by(|one, other| one.entry.cmp(&other.entry));
        rows.iter().take(limit).map(|row| read(&row.record)).collect()
    }
}

/// A part of an index. Entries are printable ASCII, so that DEL sorts after all that can follow.
pub(crate) struct Bounds {
    from: String,
    to: String,
    free: bool,
}

impl Bounds {
    /// All entries that begin so.
    pub(crate) fn under(prefix: &str) -> Self {
        Self { from: format!("[{prefix}"), to: format!("({prefix}\x7f"), free: false }
    }

    /// All entries of that letter up to that moment.
    pub(crate) fn until(letter: &str, moment: &str) -> Self {
        Self { from: format!("[{letter}"), to: format!("({letter}{moment}\x7f"), free: false }
    }

    /// Without the records that are leased.
    pub(crate) fn free(self) -> Self {
        Self { free: true, ..self }
    }

    fn after(self, entry: Option<String>) -> Self {
        match entry {
            Some(entry) if entry.as_str() > &self.from[1..] => Self { from: format!("({entry}"), ..self },
            _ => self,
        }
    }
}

fn cursor(row: &Row) -> Cursor {
    let mut bytes = row.shard.to_be_bytes().to_vec();
    bytes.extend_from_slice(row.entry.as_bytes());
    Cursor(bytes)
}

/// The shard where a page starts, and the entry in it. What is no cursor of this listing starts it anew or ends it.
fn start(page: &Page, shards: &Range<u16>) -> (u16, Option<String>) {
    let Some((shard, entry)) = page.after.as_ref().and_then(|Cursor(bytes)| bytes.split_first_chunk()) else {
        return (shards.start, None);
    };
    match u16::from_be_bytes(*shard) {
        before if before < shards.start => (shards.start, None),
        shard => (shard, String::from_utf8(entry.to_vec()).ok()),
    }
}
