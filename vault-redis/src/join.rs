//! Several futures at once, in the task that awaits them: dropping it drops them.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Runs them to their end and answers in their order, or with the first error.
pub(crate) async fn all<T, E, F: Future<Output = Result<T, E>>>(
    futures: impl IntoIterator<Item = F>,
) -> Result<Vec<T>, E> {
    let mut running: Vec<(Pin<Box<F>>, Option<T>)> =
        futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|context| {
        let mut pending = false;
        for (future, done) in running.iter_mut().filter(|(_, done)| done.is_none()) {
            match future.as_mut().poll(context) {
                Poll::Ready(Ok(output)) => *done = Some(output),
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => pending = true,
            }
        }
        if pending { Poll::Pending } else { Poll::Ready(Ok(())) }
    })
    .await?;
    Ok(running.into_iter().filter_map(|(_, done)| done).collect())
}

/// The first that succeeds, or the last error. `None` when there are no futures.
pub(crate) async fn first<T, E, F: Future<Output = Result<T, E>>>(
    futures: impl IntoIterator<Item = F>,
) -> Option<Result<T, E>> {
    let mut running: Vec<Pin<Box<F>>> = futures.into_iter().map(Box::pin).collect();
    let mut last = None;
    poll_fn(|context| {
        let mut won = None;
        running.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Pending => true,
            Poll::Ready(Ok(output)) => {
                won = Some(output);
                false
            }
            Poll::Ready(Err(error)) => {
                last = Some(Err(error));
                false
            }
        });
        match won {
            Some(output) => Poll::Ready(Some(Ok(output))),
            None if running.is_empty() => Poll::Ready(last.take()),
            None => Poll::Pending,
        }
    })
    .await
}
