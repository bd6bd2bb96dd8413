//! The refresh protocol, through all interleavings of a few processes.
mod canon;
mod events;
mod fair;
mod model;
mod process;
mod provider;
mod report;
mod rule;
mod rules;
mod state;
mod time;
mod world;

pub use model::RefreshModel;
pub use provider::Mode;
pub use report::{Note, Report};
pub use rule::Rule;
pub use rules::Rules;
pub use state::Faults;
