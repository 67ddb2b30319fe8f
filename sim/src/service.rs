//! The simulated cluster as a `tower::Service`, so that the real controller runs against it in process:
//! `kube::Client::new(service.connect("sluice"), "default")`.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};
use serde_json::json;
use tokio::sync::watch;

use crate::api_server::{Call, Failure, Reply};
use crate::clock::Clock;
use crate::faults::{Fault, FaultPlan, Subject};
use crate::world::World;

mod stream;

/// An error that a client sees instead of a reply: the connection broke.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The body of a reply: whole, or the stream of a watch.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

/// A connection that a fault broke.
#[derive(Debug, thiserror::Error)]
#[error("connection reset by the simulated network")]
pub struct ConnectionReset;

/// A served world. Clones serve the same one.
#[derive(Clone)]
pub struct SimService {
    shared: Arc<Shared>,
    actor: Option<Arc<str>>,
}

struct Shared {
    world: Mutex<World>,
    faults: Mutex<FaultPlan>,
    clock: Clock,
    /// The version of the last change: watches and the driver wait for it.
    changed: watch::Sender<u64>,
    /// Raised when the rules for watches change.
    watch_rules: watch::Sender<u64>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic of another holder leaves a whole world behind: each change is one call.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl SimService {
    /// Serves the world by this clock. Somebody must poll [`SimService::drive`] for Pods to start by themselves.
    pub fn new(world: World, clock: Clock) -> Self {
        let (changed, _) = watch::channel(world.api.version());
        let (watch_rules, _) = watch::channel(0);
        let shared = Shared {
            world: Mutex::new(world),
            faults: Mutex::new(FaultPlan::default()),
            clock,
            changed,
            watch_rules,
        };
        Self { shared: Arc::new(shared), actor: None }
    }

    /// Returns the service for one client, whose requests are recorded and matched under this name in place of its user
    /// agent.
    pub fn connect(&self, actor: &str) -> Self {
        Self { shared: Arc::clone(&self.shared), actor: Some(actor.into()) }
    }

    /// Returns the clock.
    pub fn clock(&self) -> &Clock {
        &self.shared.clock
    }

    /// Looks at the world or changes it, at the clock's time; watches see the changes.
    pub fn with_world<T>(&self, act: impl FnOnce(&mut World) -> T) -> T {
        let now = self.shared.clock.now();
        let mut world = locked(&self.shared.world);
        world.advance_to(now);
        let result = act(&mut world);
        world.settle();
        let version = world.api.version();
        drop(world);
        self.shared.changed.send_if_modified(|seen| std::mem::replace(seen, version) != version);
        result
    }

    /// Changes which faults are to come.
    pub fn with_faults<T>(&self, act: impl FnOnce(&mut FaultPlan) -> T) -> T {
        let result = act(&mut locked(&self.shared.faults));
        self.shared.watch_rules.send_modify(|count| *count += 1);
        result
    }

    /// Lets time pass in the world for as long as it is polled: Pods start and stop when their time has come.
    pub async fn drive(self) -> Infallible {
        let mut changed = self.shared.changed.subscribe();
        loop {
            changed.borrow_and_update();
            let next = self.with_world(|world| world.next_at());
            let instant = next.and_then(|next| self.shared.clock.instant_of(next));
            tokio::select! {
                () = sleep_until(instant) => {}
                _ = changed.changed() => {}
            }
        }
    }

    async fn answer(self, call: Call) -> Result<http::Response<Body>, BoxError> {
        let fault = {
            let subject = SubjectOf::new(&call);
            locked(&self.shared.faults).decide(&subject.borrowed())
        };
        match fault {
            None => {}
            Some(Fault::LoseRequest) => return Err(ConnectionReset.into()),
            Some(Fault::LoseReply) => {
                self.carry_out(&call);
                return Err(ConnectionReset.into());
            }
            Some(Fault::Conflict) => return Ok(refused(&injected(409, "Conflict"), None)),
            Some(Fault::ErrorBefore(code)) => {
                return Ok(refused(&injected(code, "InternalError"), None));
            }
            Some(Fault::ErrorAfter(code)) => {
                self.carry_out(&call);
                return Ok(refused(&injected(code, "InternalError"), None));
            }
            Some(Fault::Throttle { retry_after_seconds }) => {
                return Ok(refused(&injected(429, "TooManyRequests"), Some(retry_after_seconds)));
            }
            Some(Fault::Delay(delay)) => tokio::time::sleep(delay).await,
            Some(Fault::Zombie(delay)) => {
                tokio::spawn(self.later(call, delay));
                return Err(ConnectionReset.into());
            }
            Some(Fault::Hang) => std::future::pending().await,
        }
        Ok(match self.carry_out(&call) {
            Reply::Json { code, body } => whole(code, "application/json", body.to_string(), None),
            Reply::Text(text) => whole(200, "text/plain; charset=utf-8", text.to_owned(), None),
            Reply::Watch(watch) => self.stream(*watch, call.actor),
        })
    }

    async fn later(self, call: Call, delay: Duration) {
        tokio::time::sleep(delay).await;
        self.carry_out(&call);
    }

    fn carry_out(&self, call: &Call) -> Reply {
        self.with_world(|world| world.handle(call))
    }
}

/// Waits until the instant; without one, for ever.
async fn sleep_until(instant: Option<tokio::time::Instant>) {
    match instant {
        Some(instant) => tokio::time::sleep_until(instant).await,
        None => std::future::pending().await,
    }
}

/// The parts of a call by which faults are chosen.
struct SubjectOf {
    verb: &'static str,
    plural: String,
    name: String,
    actor: String,
}

impl SubjectOf {
    fn new(call: &Call) -> Self {
        let target = call.target().unwrap_or_default();
        Self {
            verb: call.verb(),
            plural: target.plural,
            name: target.name.unwrap_or_default(),
            actor: call.actor.clone(),
        }
    }

    fn borrowed(&self) -> Subject<'_> {
        Subject { verb: self.verb, plural: &self.plural, name: &self.name, actor: &self.actor }
    }
}

fn injected(code: u16, reason: &'static str) -> Failure {
    let message = "injected by the fault plan".to_owned();
    Failure { code, reason, message, details: json!({}) }
}

fn refused(failure: &Failure, retry_after_seconds: Option<u32>) -> http::Response<Body> {
    whole(failure.code, "application/json", failure.body().to_string(), retry_after_seconds)
}

fn whole(
    code: u16,
    content_type: &str,
    text: String,
    retry_after_seconds: Option<u32>,
) -> http::Response<Body> {
    let body = Full::new(Bytes::from(text)).map_err(|never| match never {}).boxed_unsync();
    let mut response = http::Response::builder().status(code).header("content-type", content_type);
    if let Some(seconds) = retry_after_seconds {
        response = response.header("retry-after", seconds.to_string());
    }
    response.body(body).expect("status and headers are ours and valid")
}

/// Returns the `Date` header's form of the time.
pub(crate) fn http_date(at: DateTime<Utc>) -> String {
    at.format("%a, %d %b %Y %H:%M:%S GMT").to_string()
}

impl<B> tower::Service<http::Request<B>> for SimService
where
    B: hyper::body::Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    type Response = http::Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<B>) -> Self::Future {
        let service = self.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            let body = body.collect().await.map_err(Into::into)?.to_bytes();
            let header = |name: http::HeaderName| {
                let value = parts.headers.get(name).and_then(|value| value.to_str().ok());
                value.unwrap_or_default().to_owned()
            };
            let path = parts.uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
            let agent = header(http::header::USER_AGENT);
            let call = Call {
                method: parts.method.to_string(),
                path,
                content_type: header(http::header::CONTENT_TYPE),
                accept: header(http::header::ACCEPT),
                actor: service.actor.as_deref().map_or(agent, str::to_owned),
                body: body.to_vec(),
            };
            let clock = service.shared.clock.clone();
            let mut response = service.answer(call).await?;
            if let Ok(date) = http::HeaderValue::from_str(&http_date(clock.now())) {
                response.headers_mut().insert(http::header::DATE, date);
            }
            Ok(response)
        })
    }
}

/// Events of a watch that wait for their time.
type Waiting = VecDeque<(DateTime<Utc>, Bytes)>;

#[cfg(test)]
mod tests;
