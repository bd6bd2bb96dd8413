//! What tests of the vault need: proof that a storage backend keeps its contract, and a provider, a clock and a store that do
//! what the test says.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use vault_core::{Callback, ClientSecret, KeyRing, NewConnector, SessionBinding, Stores, Vault};
//! use vault_http::GuardedHttp;
//! use vault_memory::MemoryStore;
//! use vault_testkit::clock::ManualClock;
//! use vault_testkit::simulator::Simulator;
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let clock = ManualClock::new();
//! let provider = Simulator::builder().clock(Arc::new(clock.clone())).start().await?;
//! let vault = Vault::builder()
//!     .stores(Stores::from_backend(MemoryStore::with_clock(Arc::new(clock.clone()))))
//!     .keys(KeyRing::from_text("test:dGhlIGtleSBvZiB0aGlzIHRlc3QsIDMyIGJ5dGVzIDo=")?)
//!     .http(GuardedHttp::builder().danger_allow_loopback_http().build()?)
//!     .redirect_uri("https://app.example.com/callback")
//!     .clock(clock.clone())
//!     .build()
//!     .await?;
//! let new = NewConnector::new("calendar", provider.provider())
//!     .client(provider.client_id(), ClientSecret::new(provider.client_secret()));
//! let calendar = vault.connectors().register(new).await?;
//!
//! // Alice connects; the simulator is her browser, too.
//! let session = SessionBinding::new("the session of this test")?;
//! let started = vault.user("alice").connect(calendar.id()).start(&session).await?;
//! let back = provider.browse(started.url().clone()).as_account("ada").await?;
//! vault.complete(Callback::from_query(back.query().unwrap_or_default())?, &session).await?;
//!
//! // Two hours later the access token has ended. However many ask, the provider is asked once.
//! clock.advance(Duration::from_secs(2 * 60 * 60));
//! let readers: Vec<_> = (0..10)
//!     .map(|_| (vault.user("alice"), calendar.id().clone()))
//!     .map(|(alice, id)| tokio::spawn(async move { alice.token(&id).await }))
//!     .collect();
//! for reader in readers {
//!     assert!(provider.is_live(reader.await??.expose_secret()));
//! }
//! assert_eq!(provider.refreshes().len(), 1);
//! # Ok(())
//! # }
//! ```
//!
//! # Main parts
//!
//! | module | is |
//! |---|---|
//! | [`conformance`](mod@conformance) | the storage contract as tests; [`conformance!`] names them all for your backend |
//! | [`differential`] | random operations on two backends, which must give the same answers |
//! | [`simulator`] | an OAuth provider in this process, with every kind of rotation and every fault |
//! | [`clock`] | time that stands still until the test moves it |
//! | [`faults`] | stores whose Nth call fails, hangs, or succeeds without saying so |
//!
//! # What it guarantees
//!
//! - Nothing leaves this machine, and no port is fixed.
//! - Nothing sleeps to wait for something: [`Gate`](simulator::Gate)s hold requests, the clock counts who waits.
//! - A check of the conformance suite looks at nothing but records of its own, under random tenants.
//!
//! # What it does not do
//!
//! - Run a backend's server: that is the host's part, or `cargo xtask` in this workspace.
//! - Stand in for a real provider's quirks. They are data (`vault_core::provider`), and the simulator speaks plain RFC.
//! - Belong in production: it keeps every token that it issued in memory, for tests to ask about.
//!
//! # Features
//!
//! None.
//!
//! # Versions
//!
//! Rust 1.94 or later. [`conformance!`] needs `tokio` with `macros` and `rt-multi-thread` in the crate that calls it.

pub mod clock;
pub mod conformance;
pub mod differential;
pub mod faults;
pub mod simulator;
