use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::driver::Driver;
use crate::connection::Read;
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Incarnation};

/// What everybody on a flight gets.
pub(crate) type Landing = Result<Arc<Read>, Error>;

/// One refresh: of this connection, from this generation on. Everything that changes the token that comes back belongs
/// in here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Goal {
    pub(crate) key: ConnectionKey,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: u64,
    /// The provider refused this generation's access token.
    pub(crate) rejected: bool,
}

/// The refreshes under way in this process.
#[derive(Debug, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<Goal, watch::Receiver<Option<Landing>>>>>);

impl Flights {
    /// Steps 1 and 2. Waits for the flight, which goes on when this is dropped.
    pub(crate) async fn join(&self, core: &Arc<Core>, goal: Goal) -> Landing {
        let mut landing = self.board(core, goal)?;
        let landed = landing.wait_for(Option::is_some).await;
        match landed.as_deref() {
            Ok(Some(landing)) => landing.clone(),
            _ => Err(Error::new(ErrorKind::RefreshInProgress, "the refresh was ended before it answered")),
        }
    }

    fn board(&self, core: &Arc<Core>, goal: Goal) -> Result<watch::Receiver<Option<Landing>>, Error> {
        core.check_open()?;
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(landing) = flights.get(&goal) {
            return Ok(landing.clone());
        }
        let (publish, landing) = watch::channel(None);
        flights.insert(goal.clone(), landing.clone());
        let landed = Landed { flights: Arc::clone(&self.0), goal: goal.clone() };
        let driver = Driver::new(Arc::clone(core), goal, publish);
        core.tasks.spawn(async move {
            let landing = driver.run().await;
            // Before anybody hears of it: who asks again after a failure gets another try, not the old answer.
            drop(landed);
            driver.end(landing);
        });
        Ok(landing)
    }
}

/// Takes the flight off the board however its task ends.
struct Landed {
    flights: Arc<Mutex<HashMap<Goal, watch::Receiver<Option<Landing>>>>>,
    goal: Goal,
}

impl Drop for Landed {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.goal);
    }
}
