//! Columns of the types that every schema uses, and what the records' fields are in them.

use std::time::Duration;

use vault_core::clock::Timestamp;
use vault_core::id::{Owner, UserId};
use vault_core::store::{ConnectionStatus, StoreError, StoreErrorKind, Version};

type Result<T> = std::result::Result<T, StoreError>;

/// A row of any database, by the four types that the schema uses.
pub trait Fields {
    fn int(&self, column: &'static str) -> Result<i64>;
    fn maybe_int(&self, column: &'static str) -> Result<Option<i64>>;
    fn text(&self, column: &'static str) -> Result<String>;
    fn bytes(&self, column: &'static str) -> Result<Vec<u8>>;
}

/// Implements [`Fields`] for a driver's row.
macro_rules! fields {
    ($row:ty) => {
        impl $crate::record::Fields for $row {
            fn int(
                &self,
                column: &'static str,
            ) -> ::std::result::Result<i64, ::vault_core::store::StoreError> {
                self.try_get(column).map_err($crate::fault::undecodable)
            }
            fn maybe_int(
                &self,
                column: &'static str,
            ) -> ::std::result::Result<Option<i64>, ::vault_core::store::StoreError> {
                self.try_get(column).map_err($crate::fault::undecodable)
            }
            fn text(
                &self,
                column: &'static str,
            ) -> ::std::result::Result<String, ::vault_core::store::StoreError> {
                self.try_get(column).map_err($crate::fault::undecodable)
            }
            fn bytes(
                &self,
                column: &'static str,
            ) -> ::std::result::Result<Vec<u8>, ::vault_core::store::StoreError> {
                self.try_get(column).map_err($crate::fault::undecodable)
            }
        }
    };
}
pub(crate) use fields;

/// The row holds what no record of ours has.
pub(crate) const fn corrupt(what: &'static str) -> StoreError {
    StoreError::new(StoreErrorKind::Corrupt, what)
}

pub(crate) fn number<T: TryFrom<i64>>(row: &impl Fields, column: &'static str) -> Result<T> {
    T::try_from(row.int(column)?).map_err(|_| corrupt("a number out of range"))
}

pub(crate) fn time(row: &impl Fields, column: &'static str) -> Result<Timestamp> {
    row.int(column).map(Timestamp::from_millis)
}

pub(crate) fn maybe_time(row: &impl Fields, column: &'static str) -> Result<Option<Timestamp>> {
    Ok(row.maybe_int(column)?.map(Timestamp::from_millis))
}

pub(crate) fn fixed<const N: usize>(row: &impl Fields, column: &'static str) -> Result<[u8; N]> {
    let bytes = row.bytes(column)?;
    <[u8; N]>::try_from(bytes).map_err(|_| corrupt("a value of the wrong length"))
}

pub(crate) fn id<T: TryFrom<String>>(row: &impl Fields, column: &'static str) -> Result<T> {
    T::try_from(row.text(column)?).map_err(|_| corrupt("not an identifier"))
}

pub(crate) fn version(row: &impl Fields) -> Result<Version> {
    row.int("version").map(Version::from_i64)
}

pub(crate) fn status(row: &impl Fields) -> Result<ConnectionStatus> {
    ConnectionStatus::from_code(number(row, "status")?).ok_or(corrupt("unknown status"))
}

pub(crate) fn owner(row: &impl Fields) -> Result<Owner> {
    match row.int("owner_kind")? {
        0 => Ok(Owner::Shared),
        1 => Ok(Owner::User(id::<UserId>(row, "owner_id")?)),
        _ => Err(corrupt("unknown kind of owner")),
    }
}

/// An owner as `owner_kind` and `owner_id`.
pub(crate) fn owner_columns(owner: &Owner) -> (i64, &str) {
    match owner {
        Owner::Shared => (0, ""),
        Owner::User(user) => (1, user.as_str()),
    }
}

/// A generation as databases count.
pub(crate) fn generation_column(generation: u64) -> Result<i64> {
    i64::try_from(generation).map_err(|_| corrupt("a generation past the largest that can be stored"))
}

/// A span in milliseconds, short enough that adding it to a time of day does not overflow.
pub(crate) fn millis(span: Duration) -> i64 {
    const LONGEST: i64 = 1 << 53;
    i64::try_from(span.as_millis()).map_or(LONGEST, |millis| millis.min(LONGEST))
}
