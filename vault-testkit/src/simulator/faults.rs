//! The faults that wait for their call.

use super::fault::Fault;
use super::log::{Call, Endpoint};

/// Oldest first.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<(Endpoint, Fault)>);

impl Faults {
    pub(super) fn add(&mut self, endpoint: Endpoint, fault: Fault) {
        self.0.push((endpoint, fault));
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// The oldest that befalls the call.
    pub(super) fn take(&mut self, call: &Call) -> Option<Fault> {
        let (_, fault) =
            self.0.iter_mut().find(|(endpoint, fault)| *endpoint == call.endpoint && fault.befalls(call))?;
        fault.happened();
        let fault = fault.clone();
        self.0.retain(|(_, fault)| !fault.is_over());
        Some(fault)
    }
}
