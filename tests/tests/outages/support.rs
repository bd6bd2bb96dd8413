/// Runs what blocks, such as starting or killing a server, without stopping the load.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> vault_servers::Result<T> + Send + 'static,
) -> T {
    tokio::task::spawn_blocking(work).await.expect("no panic").expect("the server does as told")
}

/// [`blocking`] on a server, which comes back.
pub(crate) async fn on<S: Send + 'static>(
    mut server: S,
    work: impl FnOnce(&mut S) -> vault_servers::Result<()> + Send + 'static,
) -> S {
    blocking(move || work(&mut server).map(|()| server)).await
}
