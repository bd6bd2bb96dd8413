//! From a connection to the provider and back.

use std::future::Future;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::Response;
use http::StatusCode;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use vault_core::clock::Clock;

use super::clients::Claim;
use super::fault::{Delivery, Fault};
use super::incoming::Incoming;
use super::line::{Line, Lines};
use super::log::{CallId, Endpoint, presented};
use super::reply::Reply;
use super::wire;
use super::world::{Notes, Stage, World};

const PATIENCE: Duration = Duration::from_secs(2);

/// What handlers and handles share. It must not own the server, which stops when the last handle goes.
pub(super) struct Shared {
    pub(super) issuer: String,
    clock: Arc<dyn Clock>,
    world: Mutex<World>,
    stop: watch::Sender<bool>,
    arrivals: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(world: World) -> Self {
        Self {
            issuer: world.issuer.clone(),
            clock: Arc::clone(&world.clock),
            world: Mutex::new(world),
            stop: watch::Sender::new(false),
            arrivals: watch::Sender::new(0),
        }
    }

    /// A handler that panicked leaves the world as it was between two statements, good enough for a test that fails.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        Arc::clone(&self.clock)
    }

    /// Counts requests; changes with each.
    pub(super) fn arrivals(&self) -> watch::Receiver<u64> {
        self.arrivals.subscribe()
    }

    /// Ends when the simulator stops.
    pub(super) fn stopped(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stop = self.stop.subscribe();
        async move {
            let _ = stop.wait_for(|stop| *stop).await;
        }
    }

    fn arrive(&self, incoming: &Incoming) -> (CallId, Option<Fault>) {
        let mut world = self.world();
        let claim = Claim::read(incoming, &world.clients);
        let token = presented(incoming).and_then(|token| world.ledger.describe(token));
        let id = world.log.arrive(incoming, claim.method, claim.id, token);
        let call = world.log.change(id).clone();
        let fault = world.faults.take(&call);
        drop(world);
        self.arrivals.send_modify(|count| *count += 1);
        (id, fault)
    }

    async fn hold(&self, endpoint: Endpoint, stage: Stage) {
        let barrier = self.world().take_hold(endpoint, stage);
        if let Some(barrier) = barrier {
            tokio::select! {
                () = barrier.pass() => {}
                () = self.stopped() => {}
            }
        }
    }

    fn act(&self, id: CallId, incoming: &Incoming, fault: Option<&Fault>) -> Reply {
        if fault.is_some_and(|fault| !fault.acts()) {
            return Reply::empty(StatusCode::OK);
        }
        let mut notes = Notes { account: fault.and_then(Fault::account).map(str::to_owned), pkce: None };
        let mut world = self.world();
        let reply = world.act(incoming, &mut notes);
        let call = world.log.change(id);
        call.acted = true;
        call.pkce = notes.pkce;
        reply
    }

    async fn answer(&self, line: Line, incoming: Incoming) -> Response {
        let (id, fault) = self.arrive(&incoming);
        self.hold(incoming.endpoint, Stage::Arrival).await;
        let reply = self.act(id, &incoming, fault.as_ref());
        self.hold(incoming.endpoint, Stage::Answer).await;
        let (reply, delivery) = match &fault {
            None => (reply, Delivery::Whole),
            Some(fault) => {
                if !fault.delay().is_zero() {
                    tokio::select! {
                        () = self.clock.sleep(fault.delay()) => {}
                        () = self.stopped() => {}
                    }
                }
                (fault.reshape(reply), fault.delivery())
            }
        };
        let mut world = self.world();
        world.log.leave(&incoming);
        if delivery != Delivery::Dropped {
            world.log.change(id).status = Some(reply.status.as_u16());
        }
        drop(world);
        wire::send(self, line, reply, delivery)
    }
}

fn endpoint(path: &str) -> Endpoint {
    match path {
        "/.well-known/oauth-authorization-server" | "/.well-known/openid-configuration" => {
            Endpoint::Discovery
        }
        "/authorize" => Endpoint::Authorize,
        "/calendar" => Endpoint::Calendar,
        "/introspect" => Endpoint::Introspect,
        "/jwks" => Endpoint::Jwks,
        "/revoke" => Endpoint::Revoke,
        "/token" => Endpoint::Token,
        "/userinfo" => Endpoint::Userinfo,
        _ => Endpoint::Elsewhere,
    }
}

async fn handle(
    State(shared): State<Arc<Shared>>,
    ConnectInfo(line): ConnectInfo<Line>,
    request: Request<Body>,
) -> Response {
    let endpoint = endpoint(request.uri().path());
    let Some(incoming) = Incoming::read(endpoint, request).await else {
        return plain(StatusCode::BAD_REQUEST, "simulator: the request body broke off or is too long");
    };
    // In a task of its own: a client that hangs up does not undo a request that has arrived.
    let answer = tokio::spawn(async move { shared.answer(line, incoming).await });
    match answer.await {
        Ok(response) => response,
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, "simulator: the handler panicked"),
    }
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

/// The running server. Dropping it stops it.
#[derive(Debug)]
pub(super) struct Server {
    stop: watch::Sender<bool>,
    ended: watch::Receiver<bool>,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) fn start(listener: TcpListener, shared: &Arc<Shared>) -> Self {
        let router = Router::new().fallback(handle).with_state(Arc::clone(shared));
        let service = router.into_make_service_with_connect_info::<Line>();
        let serve = axum::serve(Lines(listener), service).with_graceful_shutdown(shared.stopped());
        let (ending, ended) = watch::channel(false);
        let task = tokio::spawn(async move {
            let _: io::Result<()> = serve.await;
            ending.send_replace(true);
        });
        Self { stop: shared.stop.clone(), ended, task }
    }

    /// Stops accepting, and waits for the requests under way, unless a client keeps one open.
    pub(super) async fn shutdown(&self) {
        self.stop.send_replace(true);
        let mut ended = self.ended.clone();
        if tokio::time::timeout(PATIENCE, ended.wait_for(|ended| *ended)).await.is_err() {
            self.task.abort();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.task.abort();
    }
}
