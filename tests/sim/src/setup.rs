//! The world before anything happens: tenants, users, connectors.

use std::sync::Arc;

use vault_core::id::{ConnectionKey, ConnectorId, Owner, Slot, TenantId, UserId};
use vault_core::store::Stores;
use vault_core::{ClientSecret, Error, KeyRing, NewConnector, Provider, Vault};
use vault_memory::MemoryStore;

use crate::Options;
use crate::clock::{LongAgo, TrueTime};
use crate::history::Pid;
use crate::http::SimHttp;
use crate::kernel::{Kernel, PROCESSES};
use crate::process::{KEYS, REDIRECT_URI};
use crate::provider::{MARK, Mode};
use crate::rng::{Rng, SeededEntropy};
use crate::weather::Weather;
use crate::world::{Conn, Shared, World};

/// The same name in two tenants is two people.
const USERS: [(&str, &str); 3] = [("acme", "ann"), ("acme", "bob"), ("umbrella", "ann")];

pub(crate) fn kernel(options: Options) -> Kernel {
    let time = TrueTime::default();
    let mut rng = Rng::new(options.seed, 0);
    let weather = Weather::draw(&mut rng);
    let world = Shared::new(World::new(time.clone(), rng, weather, options.plant));
    let inner = MemoryStore::with_clock(Arc::new(time.clone()));
    match prepare(options, &world, &inner) {
        Ok((auditor, conns)) => {
            let mut world = world.lock();
            world.standings = vec![None; conns.len()];
            world.leases = vec![None; conns.len()];
            world.conns = conns;
            world.woken = vec![false; PROCESSES];
            world.auditor = Some(auditor);
        }
        Err(error) => panic!("the simulation cannot be set up: {error}"),
    }
    Kernel::new(options, world, time, inner)
}

fn prepare(options: Options, world: &Shared, inner: &MemoryStore) -> Result<(Vault, Vec<Conn>), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    let runtime = runtime.unwrap_or_else(|error| panic!("no runtime: {error}"));
    runtime.block_on(async {
        let auditor = Vault::builder()
            .stores(Stores::from_backend(inner.clone()))
            .keys(KeyRing::from_text(KEYS)?)
            .http(SimHttp { pid: Pid { slot: PROCESSES, life: 0 }, world: world.clone() })
            .redirect_uri(REDIRECT_URI)
            .clock(LongAgo)
            .danger_entropy(SeededEntropy::new(Rng::new(options.seed, 2)))
            .build()
            .await?;
        let mut conns = Vec::new();
        for tenant in ["acme", "umbrella"] {
            for mode in Mode::ALL {
                let connector = NewConnector::new(mode.name(), Provider::from_toml(&provider_toml(mode))?)
                    .client(format!("{tenant}-{}", mode.name()), ClientSecret::new(format!("{MARK}-client")))
                    .scopes(["read", "write"]);
                let connector = auditor.tenant(tenant).connectors()?.register(connector).await?;
                for (_, user) in USERS.iter().filter(|(of, _)| *of == tenant) {
                    conns.push(conn(tenant, user, mode, connector.id())?);
                }
            }
        }
        Ok((auditor, conns))
    })
}

fn conn(tenant: &str, user: &'static str, mode: Mode, connector: &ConnectorId) -> Result<Conn, Error> {
    let tenant = TenantId::new(tenant)?;
    let key = ConnectionKey {
        tenant: tenant.clone(),
        owner: Owner::User(UserId::new(user)?),
        connector: connector.clone(),
        slot: Slot::default(),
    };
    Ok(Conn { key, tenant, user, mode })
}

fn provider_toml(mode: Mode) -> String {
    let (name, reuse) = (mode.name(), mode.toml());
    format!(
        r#"
id = "{name}"
name = "{name}"
scopes_check = "subset_ok"

[endpoints]
authorize = "https://{name}.example/authorize"
token = "https://{name}.example/token"
revoke = "https://{name}.example/revoke"

[authorize.scope]
defaults = ["read", "write"]

[client_auth]
kinds = ["basic"]

[refresh_policy]
reuse = {reuse}
"#
    )
}
