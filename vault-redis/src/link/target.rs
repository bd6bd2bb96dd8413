use std::convert::Infallible;

use redis::aio::MultiplexedConnection;
use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisResult,
};

use super::Limits;

/// How to find a server.
pub(super) enum Target {
    Address(Client),
    Sentinel(SentinelClient),
}

impl Target {
    pub(super) fn address(node: ConnectionInfo) -> RedisResult<Self> {
        let settings = node.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
        // A command must not wait until what went before it was acknowledged.
        let tcp = node.tcp_settings().clone().set_nodelay(true);
        Client::open(node.set_redis_settings(settings).set_tcp_settings(tcp)).map(Self::Address)
    }

    pub(super) fn sentinel(
        sentinels: Vec<ConnectionInfo>,
        service: String,
        master: SentinelNodeConnectionInfo,
        login: RedisConnectionInfo,
    ) -> RedisResult<Self> {
        let master = master.set_redis_connection_info(login.set_protocol(ProtocolVersion::RESP3));
        let kind = SentinelServerType::Master;
        SentinelClient::build(sentinels, service, Some(master), kind).map(Self::Sentinel)
    }

    /// A new connection. What comes on it unasked goes to `pushed`; with RESP3 that includes the news that the server has
    /// hung up.
    pub(super) async fn connect(
        &mut self,
        limits: &Limits,
        pushed: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<MultiplexedConnection> {
        #[cfg(feature = "tls")]
        provide_crypto();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limits.connect))
            .set_response_timeout(Some(limits.response))
            .set_push_sender(move |push: PushInfo| {
                pushed(push);
                Ok::<_, Infallible>(())
            });
        match self {
            Self::Address(client) => client.get_multiplexed_async_connection_with_config(&config).await,
            Self::Sentinel(client) => client.get_async_connection_with_config(&config).await,
        }
    }
}

/// The driver panics where rustls has no provider and cannot choose one, and takes none from us.
#[cfg(feature = "tls")]
fn provide_crypto() {
    use rustls::crypto::{CryptoProvider, ring};
    if CryptoProvider::get_default().is_none() {
        // Lost to another who installs one at the same moment: just as good.
        let _ = ring::default_provider().install_default();
    }
}

pub(super) fn infos<N: IntoConnectionInfo>(
    nodes: impl IntoIterator<Item = N>,
) -> RedisResult<Vec<ConnectionInfo>> {
    nodes.into_iter().map(IntoConnectionInfo::into_connection_info).collect()
}
