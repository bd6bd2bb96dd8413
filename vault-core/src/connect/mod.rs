//! The connect flow: start, the browser's trip to the provider, and the callback.
//!
//! ```text
//! start     connector, scopes, return target checked -> state, PKCE verifier, nonce drawn -> flow sealed under the
//!           hash of the state -> authorize URL
//! callback  parsed strictly -> flow taken, once, and a mark left in its place, which a disconnect takes away -> session, time, issuer checked
//!           -> code exchanged at the flow's own token endpoint -> reply, scopes, account checked
//!           -> connection written as a new incarnation
//! ```
//! Nothing is stored before the last step, and an existing connection keeps working until then.

mod binding;
mod callback;
mod complete;
mod connected;
mod flow;
mod judge;
mod keep;
mod redeem;
mod standing;
mod start;
mod stow;
mod target;

pub use self::binding::SessionBinding;
pub use self::callback::Callback;
pub(crate) use self::complete::complete;
pub use self::connected::Connected;
pub(crate) use self::judge::origin;
pub use self::start::{Connect, Started};
pub(crate) use self::target::check_absolute as check_return_target;
