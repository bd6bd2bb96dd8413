//! One operation, run again and again. `peers` includes this file: both sides of a comparison run the same loop.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;

/// What is measured, without a box around its future.
pub trait Operation: Send + Sync + 'static {
    /// The `n`th run. Which record it works on follows from [`pick`].
    fn run(&self, n: u64) -> impl Future<Output = ()> + Send;
}

/// Anything that can say how long operations take.
#[async_trait]
pub trait Contestant: Send + Sync {
    /// How long it takes `tasks` tasks to run `each` operations each, the first of them being the `first`th.
    async fn time(&self, tasks: u64, first: u64, each: u64) -> Duration;

    /// Whether it is a program that starts anew each time, which takes a while.
    fn starts_anew(&self) -> bool {
        false
    }
}

#[async_trait]
impl<O: Operation> Contestant for Arc<O> {
    async fn time(&self, tasks: u64, first: u64, each: u64) -> Duration {
        let began = Instant::now();
        if tasks == 1 {
            for n in first..first + each {
                self.run(n).await;
            }
            return began.elapsed();
        }
        let tasks: Vec<_> = (0..tasks)
            .map(|task| {
                let operation = Self::clone(self);
                let first = first + task * each;
                tokio::spawn(async move {
                    for n in first..first + each {
                        operation.run(n).await;
                    }
                })
            })
            .collect();
        for task in tasks {
            task.await.expect("no operation fails");
        }
        began.elapsed()
    }
}

/// Scatters consecutive numbers over `0..len`, for everybody in the same way.
#[must_use]
pub fn pick(n: u64, len: usize) -> usize {
    let scattered = n.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    usize::try_from((u128::from(scattered) * len as u128) >> 64).unwrap_or_default()
}
