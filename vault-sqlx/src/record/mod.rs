//! Each record in one place: its columns, its values in their order, and how it is read back.

pub(crate) mod connection;
pub(crate) mod connector;
pub(crate) mod flow;
pub(crate) mod key;
pub(crate) mod owed;
mod row;

pub use self::row::Fields;
pub(crate) use self::row::{corrupt, fields, fixed, millis, number, owner_columns, time};
