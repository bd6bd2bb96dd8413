//! Stub front page.

pub mod clock;
pub mod entropy;
mod error;
pub mod http;
pub mod id;
mod oauth;
pub mod provider;
pub mod secret;
pub mod store;

pub use self::error::{Error, ErrorKind, ReauthReason};
pub use self::provider::{Catalog, Provider};
