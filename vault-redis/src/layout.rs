//! What all processes on one store must agree on, kept in the server.

use std::error::Error;
use std::fmt;

use vault_core::store::{StoreError, StoreErrorKind};

use crate::link::{Effect, Link};
use crate::names::Names;

/// The form of keys and indexes that this version reads and writes.
const LAYOUT: u32 = 1;

/// Writes the settings into a new store, or compares them with those of one that is there.
pub(crate) async fn agree(link: &Link, names: &Names) -> Result<(), StoreError> {
    let ours = [("layout", LAYOUT), ("shards", u32::from(names.shards))];
    let mut there = stored(link, names).await?;
    if there.contains(&None) {
        for (field, value) in ours {
            let mut set = redis::cmd("HSETNX");
            set.arg(names.meta()).arg(field).arg(value);
            link.run::<()>("writing the store's settings", &names.meta(), set, Effect::Write).await?;
        }
        there = stored(link, names).await?;
    }
    let [Some(layout), Some(shards)] = there else {
        return Err(StoreError::new(StoreErrorKind::Unavailable, "the store's settings do not stay"));
    };
    if layout != LAYOUT {
        let kind = if layout > LAYOUT { StoreErrorKind::SchemaTooNew } else { StoreErrorKind::Corrupt };
        let source = Difference { what: "layout", stored: layout, ours: LAYOUT };
        return Err(StoreError::new(kind, "the store has another layout").with_source(source));
    }
    if shards != u32::from(names.shards) {
        let source = Difference { what: "shards", stored: shards, ours: u32::from(names.shards) };
        let message = "the store has another number of shards, which cannot change";
        return Err(StoreError::new(StoreErrorKind::Misconfigured, message).with_source(source));
    }
    Ok(())
}

async fn stored(link: &Link, names: &Names) -> Result<[Option<u32>; 2], StoreError> {
    let doing = "reading the store's settings";
    let mut get = redis::cmd("HMGET");
    get.arg(names.meta()).arg(&["layout", "shards"]);
    let (layout, shards) = link.run(doing, &names.meta(), get, Effect::Read).await?;
    Ok([layout, shards])
}

#[derive(Debug)]
struct Difference {
    what: &'static str,
    stored: u32,
    ours: u32,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, stored, ours } = self;
        write!(f, "{what}: {stored} in the store, {ours} here")
    }
}

impl Error for Difference {}
