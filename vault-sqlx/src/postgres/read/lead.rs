use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::{io, mem};

use sqlx::Connection as _;
use tokio::runtime::Handle;
use tokio::time::{Sleep, timeout};
use vault_core::store::StoreError;

use super::queue::Open;
use super::{DOING, Found, Id, Shared};
use crate::postgres::engine::ATTEMPTS;
use crate::postgres::error::{fault, is_of_connection, is_worth_repeating};

/// One of the connections in somebody's hands. Dropped, it goes back, or to a task for those who wait.
#[derive(Debug)]
pub(super) struct Lead {
    shared: Arc<Shared>,
    /// `None` before it is opened, and after it broke.
    open: Option<Open>,
    by: By,
    /// A question was sent, and its answer was not read to the end.
    is_asking: bool,
}

#[derive(Debug)]
enum By {
    Caller(Handle),
    Task,
    /// It went back.
    Nobody,
}

impl Lead {
    pub(super) fn by_caller(shared: &Arc<Shared>, open: Open, runtime: Handle) -> Self {
        let by = By::Caller(runtime);
        Self { shared: Arc::clone(shared), open: Some(open), by, is_asking: false }
    }

    pub(super) fn by_task(shared: &Arc<Shared>) -> Self {
        Self { shared: Arc::clone(shared), open: None, by: By::Task, is_asking: false }
    }

    /// Answers those who wait, until nobody does.
    pub(super) async fn serve(mut self) {
        self.discard_answer().await;
        loop {
            // Whoever is ready to run comes first, and may have something to ask.
            tokio::task::yield_now().await;
            if self.give_back().is_ok() {
                return;
            }
            if let Err(error) = self.shared.opened(&mut self.open).await {
                self.by = By::Nobody;
                self.shared.queue.refuse().fail(&error);
                return self.shared.returned.notify_waiters();
            }
            let batch = self.shared.queue.batch();
            if batch.is_empty() {
                continue;
            }
            let found = self.ask(&batch.ids()).await;
            // Somebody who reads alone finds it there when they ask again.
            let is_back = batch.is_of_one() && self.give_back().is_ok();
            match found {
                Ok(found) => batch.answer(&found.into_iter().collect()),
                Err(error) => batch.fail(&error),
            }
            if is_back {
                return;
            }
        }
    }

    /// Asks the primary. A connection that turns out to have been closed is replaced, once.
    pub(super) async fn ask(&mut self, ids: &[Id]) -> Result<Vec<Found>, StoreError> {
        let (mut replacements, mut repetitions) = (1, ATTEMPTS);
        loop {
            let error = match self.ask_once(ids).await? {
                Ok(found) => return Ok(found),
                Err(error) => error,
            };
            let left = match &error {
                sqlx::Error::Io(error) if error.kind() == io::ErrorKind::TimedOut => &mut 0,
                error if is_of_connection(error) => &mut replacements,
                error if is_worth_repeating(error) => &mut repetitions,
                _ => &mut 0,
            };
            let error = fault(DOING)(error);
            // Also before another try: a host that broke the connection may not be the primary any more.
            self.shared.hosts.observe(Some(&error));
            if *left == 0 {
                return Err(error);
            }
            *left -= 1;
        }
    }

    async fn ask_once(&mut self, ids: &[Id]) -> Result<sqlx::Result<Vec<Found>>, StoreError> {
        let Self { shared, open, is_asking, .. } = self;
        let (connection, patience) = shared.opened(open).await?.used(shared.response_timeout);
        *is_asking = true;
        let answer = in_time(patience, shared.select.ask(connection, ids)).await;
        *is_asking = false;
        let answer = answer.unwrap_or_else(|| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
        if answer.as_ref().is_err_and(is_of_connection) {
            *open = None;
        }
        Ok(answer)
    }

    /// Reads to its end what the caller before did not.
    async fn discard_answer(&mut self) {
        if let (true, Some(open)) = (self.is_asking, &mut self.open) {
            let pong = timeout(self.shared.response_timeout, open.connection.ping()).await;
            if !matches!(pong, Ok(Ok(()))) {
                self.open = None;
            }
            self.is_asking = false;
        }
    }

    /// Unless somebody waits; then it says where.
    fn give_back(&mut self) -> Result<(), Handle> {
        self.shared.queue.give_back(&mut self.open)?;
        self.by = By::Nobody;
        self.shared.returned.notify_waiters();
        Ok(())
    }
}

/// `None` when `patience` ends first.
async fn in_time<T>(mut patience: Pin<&mut Sleep>, answer: impl Future<Output = T>) -> Option<T> {
    let mut answer = pin!(answer);
    poll_fn(|context| match answer.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => patience.as_mut().poll(context).map(|()| None),
    })
    .await
}

impl Drop for Lead {
    fn drop(&mut self) {
        match mem::replace(&mut self.by, By::Nobody) {
            By::Caller(own) => {
                // This caller's runtime may not run any more. That of one who waits does.
                let runtime = if self.is_asking {
                    self.shared.queue.runtime_of_waiting().unwrap_or(own)
                } else if let Err(runtime) = self.give_back() {
                    runtime
                } else {
                    return;
                };
                let (shared, open) = (Arc::clone(&self.shared), self.open.take());
                runtime.spawn(Self { shared, open, by: By::Task, is_asking: self.is_asking }.serve());
            }
            // The runtime ends, or it panicked.
            By::Task => {
                drop(self.shared.queue.abandon());
                self.shared.returned.notify_waiters();
            }
            By::Nobody => {}
        }
    }
}
