use std::sync::{Arc, Weak};
use std::time::Duration;

use super::{Cache, Reading, TokenCache};
use crate::clock::Clock;
use crate::core::Core;
use crate::store::{Change, Changes, ConnectionWatch, StoreError};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);

/// Looks after the vault's cache in a task of its own, until the vault is shut down or gone.
pub(crate) fn look_after(core: &Core, options: TokenCache) {
    let Some(cache) = &core.cache else { return };
    let (cache, clock, closing) = (Arc::downgrade(cache), Arc::clone(&core.clock), core.closing.clone());
    core.tasks.spawn(async move {
        tokio::select! {
            biased;
            () = closing.cancelled() => {}
            () = follow(cache, options, clock) => {}
        }
    });
}

/// Wipes what has expired, and listens to what other processes change.
async fn follow(cache: Weak<Cache>, options: TokenCache, clock: Arc<dyn Clock>) {
    let TokenCache { watch, max_age, .. } = options;
    // However this ends, nothing is kept that nobody looks after.
    let _on = Session(Weak::clone(&cache));
    let sweeping = async {
        loop {
            clock.sleep(max_age).await;
            let Some(cache) = cache.upgrade() else { return };
            cache.sweep(Reading::of(&*clock));
        }
    };
    let listening = async {
        match watch {
            Some(watch) => listen(&cache, &*watch, &*clock).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = sweeping => {}
        () = listening => {}
    }
}

/// Listens again and again, until the cache is gone.
async fn listen(cache: &Weak<Cache>, watch: &dyn ConnectionWatch, clock: &dyn Clock) {
    let mut pause = FIRST_PAUSE;
    loop {
        let error = match watch.watch().await {
            Err(error) => error,
            Ok(changes) => {
                pause = FIRST_PAUSE;
                match apply(cache, changes).await {
                    Err(error) => error,
                    Ok(()) => return,
                }
            }
        };
        tracing::warn!(%error, "the token cache is off: other processes' changes are not heard of");
        clock.sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Entries are served while this runs. `Ok` when the cache is gone.
async fn apply(cache: &Weak<Cache>, mut changes: Box<dyn Changes>) -> Result<(), StoreError> {
    let _on = Session::start(cache);
    loop {
        let change = changes.next().await?;
        let Some(cache) = cache.upgrade() else { return Ok(()) };
        match change {
            Change::Connection(digest) => cache.told_of(&digest),
            Change::Any => cache.told_of_any(),
        }
    }
}

/// While somebody tells of changes. Ends when dropped, however that comes about.
struct Session(Weak<Cache>);

impl Session {
    fn start(cache: &Weak<Cache>) -> Self {
        if let Some(cache) = cache.upgrade() {
            cache.switch(true);
        }
        Self(Weak::clone(cache))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(cache) = self.0.upgrade() {
            cache.switch(false);
        }
    }
}
