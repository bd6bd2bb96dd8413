//! Stub front page.

pub mod clock;
pub mod entropy;
mod error;
pub mod http;
pub mod id;
pub mod seal;
pub mod secret;
pub mod store;

pub use self::error::{Error, ErrorKind, ReauthReason};
