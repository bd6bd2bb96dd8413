//! Processes that start on a storage that nobody has used.

use std::path::Path;

use tokio::task::JoinSet;
use vault_tests::chaos::{Arena, Kind, Options, Storage, Tally, Worker};

use super::PROGRAM;
use super::kills::works;

/// One of them makes the tables, the others wait for it; later ones find them made.
pub(super) async fn s13_four_processes_start_at_once_on_nothing(kind: Kind) -> Tally {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let used = Arena::start(PROGRAM, kind, Options::default()).await;
    let mut setup = used.setup.clone();
    setup.storage = Storage::shared(kind, folder.path());
    for _ in 0..2 {
        let mut starting = JoinSet::new();
        for _ in 0..4 {
            let setup = setup.clone();
            starting.spawn(async move { Worker::start(Path::new(PROGRAM), &setup).await });
        }
        assert_eq!(starting.join_all().await.len(), 4);
    }
    let arena = Arena::on(PROGRAM, setup.storage, Options::default()).await;
    let worker = arena.worker().await;
    arena.connect(&worker, "ada").await;
    let mut tally = Tally::default();
    works(&arena, &worker, "ada").await;
    tally.count(&arena.sends("ada"));
    tally
}
