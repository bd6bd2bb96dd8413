use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use redis::cluster::{ClusterClient, ClusterClientBuilder};
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo, PushKind,
    RedisConnectionInfo, RedisResult,
};

use super::{Connection, Limits, Live};

/// What to connect to.
pub(crate) enum Target {
    Cluster(ClusterClient),
    Node(Client),
    Sentinel(SentinelClient),
}

impl Target {
    pub(crate) fn node(node: impl IntoConnectionInfo) -> RedisResult<Self> {
        Client::open(resp3(node.into_connection_info()?)).map(Self::Node)
    }

    pub(crate) fn cluster<N: IntoConnectionInfo>(
        nodes: impl IntoIterator<Item = N>,
        limits: &Limits,
    ) -> RedisResult<Self> {
        let nodes = infos(nodes)?;
        let client = ClusterClientBuilder::new(nodes)
            .use_protocol(ProtocolVersion::RESP3)
            .connection_timeout(limits.connect)
            .response_timeout(limits.response)
            // A lost reply does not mean that the command did not run: see `cluster::send`.
            .retries(0)
            .build()?;
        Ok(Self::Cluster(client))
    }

    pub(crate) fn sentinel<N: IntoConnectionInfo>(
        sentinels: impl IntoIterator<Item = N>,
        service: &str,
        master: SentinelNodeConnectionInfo,
        login: RedisConnectionInfo,
    ) -> RedisResult<Self> {
        let master = master.set_redis_connection_info(login.set_protocol(ProtocolVersion::RESP3));
        let sentinels = infos(sentinels)?;
        let kind = SentinelServerType::Master;
        SentinelClient::build(sentinels, service.to_owned(), Some(master), kind).map(Self::Sentinel)
    }

    pub(super) async fn connect(&mut self, limits: &Limits) -> RedisResult<Live> {
        // Finding the master or the cluster's nodes takes several steps, each of which has its own limit too.
        let connecting = tokio::time::timeout(limits.connect * 2, self.open(limits));
        connecting.await.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }

    async fn open(&mut self, limits: &Limits) -> RedisResult<Live> {
        let lost = Arc::new(AtomicBool::new(false));
        let connection = match self {
            Self::Cluster(client) => Connection::Cluster(client.get_async_connection().await?),
            Self::Node(client) => {
                let config = config(limits, Arc::clone(&lost));
                Connection::Node(client.get_multiplexed_async_connection_with_config(&config).await?)
            }
            Self::Sentinel(client) => {
                let config = config(limits, Arc::clone(&lost));
                Connection::Node(client.get_async_connection_with_config(&config).await?)
            }
        };
        Ok(Live { connection, lost })
    }
}

/// With RESP3 the driver tells when the server hangs up, so that the next call does not fail to find it out.
fn config(limits: &Limits, lost: Arc<AtomicBool>) -> AsyncConnectionConfig {
    AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limits.connect))
        .set_response_timeout(Some(limits.response))
        .set_push_sender(move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                lost.store(true, Ordering::Release);
            }
            Ok::<_, std::convert::Infallible>(())
        })
}

fn infos<N: IntoConnectionInfo>(nodes: impl IntoIterator<Item = N>) -> RedisResult<Vec<ConnectionInfo>> {
    nodes.into_iter().map(IntoConnectionInfo::into_connection_info).collect()
}

fn resp3(node: ConnectionInfo) -> ConnectionInfo {
    let settings = node.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    node.set_redis_settings(settings)
}
