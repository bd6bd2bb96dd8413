use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::watch;

use super::driver::Driver;
use crate::connection::Opened;
use crate::core::Core;
use crate::error::{Error, ErrorKind};
use crate::id::{ConnectionKey, Incarnation};

/// What everybody on a flight gets, the same for all.
pub(crate) type Landing = Result<Arc<Opened>, Error>;

/// One refresh: of this connection, from this generation on. Everything that changes the token that comes back belongs
/// in here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Goal {
    pub(crate) key: ConnectionKey,
    pub(crate) incarnation: Incarnation,
    pub(crate) generation: u64,
    /// Whom the access token is for.
    pub(crate) audience: String,
    /// The provider refused the access token that has this digest.
    pub(crate) rejected: Option<[u8; 32]>,
}

/// How far a flight is.
#[derive(Debug, Clone, Default)]
pub(super) enum Progress {
    /// About to land.
    #[default]
    Soon,
    /// It waits for somebody else, perhaps for longer than a caller would.
    Delayed,
    Landed(Landing),
}

/// The refreshes under way in this process.
#[derive(Debug, Default)]
pub(crate) struct Flights(Arc<Mutex<HashMap<Goal, watch::Receiver<Progress>>>>);

impl Flights {
    /// Steps 1 and 2. Waits for the flight, which goes on when this is dropped. `hurried`: for whoever has a token that
    /// still lives, until it is delayed.
    pub(crate) async fn join(&self, core: &Arc<Core>, goal: Goal, hurried: bool) -> Landing {
        let mut progress = self.board(core, goal)?;
        let answered = |progress: &Progress| match progress {
            Progress::Soon => false,
            Progress::Delayed => hurried,
            Progress::Landed(_) => true,
        };
        let why = match progress.wait_for(answered).await.as_deref() {
            Ok(Progress::Landed(landing)) => return landing.clone(),
            Ok(_) => "a refresh waits for what came of another",
            Err(_) => "the refresh was ended before it answered",
        };
        Err(Error::new(ErrorKind::RefreshInProgress, why))
    }

    fn board(&self, core: &Arc<Core>, goal: Goal) -> Result<watch::Receiver<Progress>, Error> {
        core.check_open()?;
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(progress) = flights.get(&goal) {
            return Ok(progress.clone());
        }
        let (publish, progress) = watch::channel(Progress::default());
        flights.insert(goal.clone(), progress.clone());
        let landed = Landed { flights: Arc::clone(&self.0), goal: goal.clone() };
        let (key, here) = (goal.key.clone(), Arc::clone(core));
        let driver = Driver::new(Arc::clone(core), goal, publish);
        core.tasks.spawn(async move {
            let landing = driver.run().await;
            here.found(&key, landing.as_ref().ok().map(AsRef::as_ref));
            // Before anybody hears of it: who asks again after a failure gets another try, not the old answer.
            drop(landed);
            driver.end(landing);
        });
        Ok(progress)
    }
}

/// Takes the flight off the board however its task ends.
struct Landed {
    flights: Arc<Mutex<HashMap<Goal, watch::Receiver<Progress>>>>,
    goal: Goal,
}

impl Drop for Landed {
    fn drop(&mut self) {
        self.flights.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.goal);
    }
}
