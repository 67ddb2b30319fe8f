//! Simulated traffic: requests that go where the VirtualService's weights and the Services' endpoints send them, at once.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_sim::service::SimService;
use sluice_sim::world::World;
use tokio::time::Instant;

use super::shop;

/// Requests in each tick.
const BURST: u64 = 4;
const TICK: Duration = Duration::from_millis(20);

/// Requests a second.
pub(crate) const RATE: u64 = 200;

/// One simulated request.
#[derive(Clone, Debug)]
pub(crate) struct Sent {
    at: Instant,
    /// Service that the route chose.
    pub(crate) service: String,
    /// Image of the Pod that answered; nothing where nobody could.
    pub(crate) image: Option<String>,
    /// Whether the answer was an error, or none came.
    pub(crate) failed: bool,
}

/// Traffic that goes on until the demo ends.
#[derive(Clone, Default)]
pub(crate) struct Traffic(Arc<Mutex<Vec<Sent>>>);

/// The requests of a span of time.
pub(crate) struct Record(pub(crate) Vec<Sent>);

impl Traffic {
    /// Starts to send.
    pub(crate) fn start(&self, service: SimService) {
        let sent = self.clone();
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            let mut router = Router::default();
            loop {
                ticks.tick().await;
                let burst: Vec<Sent> =
                    service.with_world(|world| (0..BURST).map(|_| router.send(world)).collect());
                sent.locked().extend(burst);
            }
        });
    }

    /// The requests since an instant.
    pub(crate) fn since(&self, from: Instant) -> Record {
        let sent = self.locked();
        let first = sent.partition_point(|s| s.at < from);
        Record(sent[first..].to_vec())
    }

    fn locked(&self) -> MutexGuard<'_, Vec<Sent>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Record {
    pub(crate) fn total(&self) -> usize {
        self.0.len()
    }

    pub(crate) fn failed(&self) -> usize {
        self.0.iter().filter(|s| s.failed).count()
    }

    /// Requests that Pods of an image answered.
    pub(crate) fn served_by(&self, image: &str) -> usize {
        self.0.iter().filter(|s| s.image.as_deref() == Some(image)).count()
    }

    /// Total and failed requests by who answered.
    pub(crate) fn by_image(&self) -> BTreeMap<&str, (usize, usize)> {
        let mut counts = BTreeMap::new();
        for sent in &self.0 {
            let image = sent.image.as_deref().unwrap_or("nobody");
            let (total, failed) = counts.entry(image).or_insert((0, 0));
            *total += 1;
            *failed += usize::from(sent.failed);
        }
        counts
    }
}

/// Chooses without chance, so that shares are as exact as counts allow.
#[derive(Default)]
struct Router {
    credits: BTreeMap<String, i64>,
    turn: usize,
    errors: BTreeMap<String, f64>,
}

impl Router {
    fn send(&mut self, world: &World) -> Sent {
        let at = Instant::now();
        let service = self.destination(world);
        let ready = service.as_deref().map(|service| ready_pods(world, service));
        let ready = ready.unwrap_or_default();
        self.turn += 1;
        let pod = ready.get(self.turn % ready.len().max(1)).and_then(|name| {
            world.api.get(&ObjectRef::namespaced(Kind::POD, shop::NAMESPACE, name))
        });
        let service = service.unwrap_or_default();
        let Some(pod) = pod else { return Sent { at, service, image: None, failed: true } };
        let image = shop::image(&pod["spec"]).to_owned();
        let failed = self.fails(&image, error_rate(&pod));
        Sent { at, service, image: Some(image), failed }
    }

    /// Smooth weighted round robin over the first route's destinations.
    fn destination(&mut self, world: &World) -> Option<String> {
        let route = ObjectRef::namespaced(Kind::VIRTUAL_SERVICE, shop::NAMESPACE, shop::NAME);
        let route = world.api.get(&route)?;
        let destinations = route["spec"]["http"][0]["route"].as_array()?;
        let mut sum = 0;
        for destination in destinations {
            let host = destination["destination"]["host"].as_str()?;
            let weight = destination["weight"].as_i64().unwrap_or(0);
            let credit = self.credits.entry(host.to_owned()).or_insert(0);
            // What a destination had coming is lost with its weight.
            *credit = if weight == 0 { 0 } else { *credit + weight };
            sum += weight;
        }
        let able = self.credits.iter_mut().filter(|(_, credit)| **credit != 0);
        let (host, credit) = able.max_by_key(|(_, credit)| **credit)?;
        *credit -= sum;
        Some(host.clone())
    }

    /// Whether the next answer of this image is an error.
    fn fails(&mut self, image: &str, rate: f64) -> bool {
        let due = self.errors.entry(image.to_owned()).or_insert(0.0);
        *due += rate;
        let fails = *due >= 1.0;
        if fails {
            *due -= 1.0;
        }
        fails
    }
}

/// Names of the Pods that are ready endpoints of a Service.
pub(crate) fn ready_pods(world: &World, service: &str) -> Vec<String> {
    let slices = world.api.objects(&Kind::ENDPOINT_SLICE, Some(shop::NAMESPACE));
    let of_service =
        slices.iter().filter(|s| s["metadata"]["labels"]["kubernetes.io/service-name"] == service);
    let endpoints = of_service.flat_map(|s| s["endpoints"].as_array().into_iter().flatten());
    let ready = endpoints.filter(|e| e["conditions"]["ready"] == true);
    ready.filter_map(|e| e["targetRef"]["name"].as_str().map(str::to_owned)).collect()
}

fn error_rate(pod: &Value) -> f64 {
    let environment = pod["spec"]["containers"][0]["env"].as_array().into_iter().flatten();
    let mut rates = environment.filter(|variable| variable["name"] == "ERROR_RATE");
    rates.next().and_then(|v| v["value"].as_str()?.parse().ok()).unwrap_or(0.0)
}
