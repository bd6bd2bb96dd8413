use std::time::Duration;

use redis::cluster_async::ClusterConnection;
use redis::cluster_routing::{MultipleNodeRoutingInfo, Route, RoutingInfo, SingleNodeRoutingInfo, SlotAddr};
use redis::{Cmd, ErrorKind, FromRedisValue as _, RedisError, RedisResult, ServerErrorKind, Value};
use tokio::time::{Instant, sleep};

use super::{Replies, Wait, with_wait};

/// The first pause before a command that did not run is sent again; each is twice as long as the one before.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Sends a command to the master that has `key`, and again for as long as `patience` lasts if it certainly did not run:
/// the slot has moved or is moving, or the cluster has no master for it yet.
pub(super) async fn send(
    mut cluster: ClusterConnection,
    key: &str,
    cmd: &Cmd,
    wait: Option<Wait>,
    patience: Duration,
) -> RedisResult<Replies> {
    let give_up = Instant::now() + patience;
    let mut pause = FIRST_PAUSE;
    let mut redirect = None;
    loop {
        let error = match attempt(&mut cluster, key, cmd, wait, redirect.take()).await {
            Err(error) if did_not_run(&error) && Instant::now() + pause < give_up => error,
            done => return done,
        };
        redirect = asked_elsewhere(&error);
        if redirect.is_none() {
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

async fn attempt(
    cluster: &mut ClusterConnection,
    key: &str,
    cmd: &Cmd,
    wait: Option<Wait>,
    redirect: Option<SingleNodeRoutingInfo>,
) -> RedisResult<Replies> {
    let master = || SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
    let values = match (redirect, wait) {
        (None, None) => {
            let route = RoutingInfo::SingleNode(master());
            vec![cluster.route_command(cmd.clone(), route).await?]
        }
        (None, Some(wait)) => cluster.route_pipeline(with_wait(cmd, wait), 0, 2, master()).await?,
        (Some(node), wait) => {
            // ASKING holds for the next command on the connection, so both go in one piece.
            let mut pipeline = redis::pipe();
            pipeline.cmd("ASKING");
            let rest = wait.map(|wait| with_wait(cmd, wait));
            match rest {
                None => pipeline.add_command(cmd.clone()),
                Some(rest) => {
                    rest.cmd_iter().fold(&mut pipeline, |pipeline, cmd| pipeline.add_command(cmd.clone()))
                }
            };
            cluster.route_pipeline(pipeline, 1, 1 + usize::from(wait.is_some()), node).await?
        }
    };
    Replies::of(values)
}

/// Whether the server, or the driver before it, refused the command.
fn did_not_run(error: &RedisError) -> bool {
    matches!(
        error.kind(),
        ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::Ask
                    | ServerErrorKind::BusyLoading
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::Moved
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::TryAgain
            )
    )
}

/// Where a key of a slot that is moving may be by now. After MOVED, in contrast, the driver learns all slots anew.
fn asked_elsewhere(error: &RedisError) -> Option<SingleNodeRoutingInfo> {
    if error.kind() != ErrorKind::Server(ServerErrorKind::Ask) {
        return None;
    }
    let (address, _) = error.redirect_node()?;
    let (host, port) = address.rsplit_once(':')?;
    Some(SingleNodeRoutingInfo::ByAddress { host: host.to_owned(), port: port.parse().ok()? })
}

pub(super) async fn info(cluster: &mut ClusterConnection) -> RedisResult<Vec<String>> {
    let masters = RoutingInfo::MultiNode((MultipleNodeRoutingInfo::AllMasters, None));
    let replies = cluster.route_command(redis::cmd("INFO"), masters).await?.extract_error()?;
    let Value::Map(replies) = replies else {
        return Ok(vec![String::from_redis_value(replies)?]);
    };
    let infos = replies.into_iter().map(|(_, info)| Ok(String::from_redis_value(info.extract_error()?)?));
    infos.collect()
}
