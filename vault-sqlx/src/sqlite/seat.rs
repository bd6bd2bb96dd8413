use std::fmt;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use sqlx::{SqliteConnection, SqlitePool};

/// A connection that token reads have at hand, because the way through a pool takes longer than such a read. Whoever finds
/// it in use goes through the pool.
#[derive(Clone)]
pub(super) struct Seat(Arc<Mutex<State>>);

enum State {
    /// Nobody has opened it yet, or it was dropped while in use.
    Vacant,
    Free(SqliteConnection),
    InUse,
    Closed,
}

impl Seat {
    pub(super) fn vacant() -> Self {
        Self(Arc::new(Mutex::new(State::Vacant)))
    }

    /// For a pool of the host's, who says how many connections there may be.
    pub(super) fn closed() -> Self {
        Self(Arc::new(Mutex::new(State::Closed)))
    }

    pub(super) fn take(&self) -> Option<Sitting<'_>> {
        let mut state = self.lock();
        let connection = match mem::replace(&mut *state, State::InUse) {
            State::Free(connection) => Some(connection),
            State::Vacant => None,
            other => {
                *state = other;
                return None;
            }
        };
        Some(Sitting { seat: self, connection, stays: false })
    }

    /// A connection that is in use closes when its read has ended.
    pub(super) fn close(&self) -> Option<SqliteConnection> {
        match mem::replace(&mut *self.lock(), State::Closed) {
            State::Free(connection) => Some(connection),
            _ => None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The connection in somebody's hands. Dropped in the middle of a read, it is closed.
pub(super) struct Sitting<'a> {
    seat: &'a Seat,
    connection: Option<SqliteConnection>,
    stays: bool,
}

impl Sitting<'_> {
    /// The connection, opened as `pool` does it if there is none yet.
    pub(super) async fn connection(&mut self, pool: &SqlitePool) -> sqlx::Result<&mut SqliteConnection> {
        let open = match self.connection.take() {
            Some(open) => open,
            None => pool.acquire().await?.detach(),
        };
        Ok(self.connection.insert(open))
    }

    /// The read has ended well.
    pub(super) fn stay(mut self) {
        self.stays = true;
    }
}

impl Drop for Sitting<'_> {
    fn drop(&mut self) {
        let mut state = self.seat.lock();
        if let State::InUse = *state {
            let stays = self.connection.take().filter(|_| self.stays);
            *state = stays.map_or(State::Vacant, State::Free);
        }
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn one_reads_on_it_at_a_time_and_what_was_not_read_to_the_end_is_not_read_on_again() {
        let pool = SqlitePool::connect("sqlite::memory:").await.expect("it opens");
        let seat = Seat::vacant();
        let mut sitting = seat.take().expect("nobody has it");
        sitting.connection(&pool).await.expect("it opens");
        assert!(seat.take().is_none(), "it is in use");
        sitting.stay();

        let sitting = seat.take().expect("it is free");
        assert!(sitting.connection.is_some(), "the same one");
        drop(sitting);
        let sitting = seat.take().expect("nobody has it");
        assert!(sitting.connection.is_none(), "it was closed");
        assert!(seat.close().is_none(), "none is free");
        sitting.stay();
        assert!(seat.take().is_none(), "it is closed for good");
    }
}
