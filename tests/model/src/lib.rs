//! The refresh protocol, through all interleavings of a few processes: stateright searches every state that they, the
//! store, the network, the provider, users and a bounded number of faults can bring about.
//!
//! # What runs
//! Each process follows the driver in `vault-core/src/refresh` step by step, one access to the store or the network at
//! a time, and takes its decisions by the very functions of [`vault_core::decide`]. [`Rules`] holds them, so that a test
//! can replace one and see that a property then fails. The provider behaves in one of six [`Mode`]s; its leeway may end
//! at any time.
//!
//! # What may go wrong
//! [`Faults`]: a crash, a pause of any length at any step (the lease lapses under a live holder), a lost request or reply
//! or one that is late, a write that seems to have failed, a store that is down while somebody has new tokens, a
//! throttled request, a grant that the user ends at the provider, a disconnect, another connect. Any combination within
//! the budget, at any point. Time passes in ticks, and only while everybody who runs waits; being slow is being paused.
//!
//! # What must hold
//! [`Rule`]s R1 to R7 and R9 in every state; `lost` and `kept`, which spell out "unavoidably lost", in every state at
//! rest. L1 to L4: `eventually` of stateright overlooks cycles and joins, so from every state one fair schedule without
//! further faults is run, which must come to rest with nothing due, the lease free and no revocation owed, within a
//! bounded number of ticks. Waiters have deadlines of their own in the vault; that bound is why those are rarely met.
//!
//! And [`Note`]s must have occurred, wherever they can.
//!
//! # What cannot be avoided
//! - In every mode but `static` a grant may be lost after the provider's reply was lost: its reply, its hearer's memory or
//!   its hearer. Then the connection says `LostRotation`.
//! - Mode `family`: two sends are fatal. The grant may also end after a lease lapsed under a holder that had sent or
//!   passed the gate, stopped or cut off from the store, or that crashed with its tokens spilled and out of reach
//!   (`re-lapse` counts these, `re-loss` those after a lost reply).
//!
//! # What is not in it
//! Replicas, stores that lose acknowledged writes, clocks that disagree, and fences that start again after a removal:
//! the simulation and the tests on real stores have those.

mod canon;
mod events;
mod fair;
mod faults;
mod model;
mod outcome;
mod process;
mod provider;
mod record;
mod report;
mod rule;
mod rules;
mod state;
mod time;
mod world;

pub use faults::{Action, Faults};
pub use model::RefreshModel;
pub use provider::Mode;
pub use report::{Note, Report};
pub use rule::Rule;
pub use rules::Rules;
pub use state::State;
