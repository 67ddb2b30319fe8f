use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use chrono::{DateTime, Utc};
use kube::client::Body;
use serde_json::json;
use sluice_crds::labels::EPOCH_PREFIX;
use sluice_crds::object::{Change, Preconditions, Write};
use sluice_engine::plan::{Plan, Reads, WakeReason};
use sluice_engine::report::Report;

use super::*;
use crate::clock::RuntimeClock;
use crate::config::{Config, Role};
use crate::queue::Queue;

/// A kind whose objects say themselves what deciding about them does.
enum Fake {}

#[derive(Clone, Copy, PartialEq)]
enum Behaviour {
    Writes,
    Panics,
    Violates,
    /// Observing it panics.
    PanicsUnseen,
    /// Its task panics.
    PanicsInTask,
}

struct FakeView(Behaviour, Meta);

#[derive(Debug)]
struct Touch;

fn object() -> ObjectRef {
    ObjectRef::namespaced(Kind::CONFIG_MAP, "shop", "a")
}

impl Lower for Touch {
    fn lower(&self) -> Write {
        Write {
            object: object(),
            preconditions: Preconditions::default(),
            manager: "test".into(),
            change: Change::MergePatch { body: json!({}) },
        }
    }
}

impl Reconciler for Fake {
    type Object = ();
    type View = FakeView;
    type Status = ();
    type Action = Touch;
    type Task = u8;

    fn reads((): &()) -> Reads {
        Reads::default()
    }

    fn decide(view: &FakeView) -> Decision<Self> {
        assert!(view.0 != Behaviour::Panics, "a mistake of ours");
        let mut plan = Plan::empty();
        plan.then(vec![Touch]);
        Decision {
            plan,
            tasks: (view.0 == Behaviour::PanicsInTask).then_some(1).into_iter().collect(),
            status_write: None,
            status: (),
            notices: Vec::new(),
            wake: Some(Wake { at: DateTime::UNIX_EPOCH, reason: WakeReason::Poll }),
            report: Report::default(),
        }
    }

    fn audit(view: &FakeView, _: &Decision<Self>) -> Vec<Violation> {
        let broken = view.0 == Behaviour::Violates;
        broken.then(|| Violation { id: "S2", detail: "said the test".into() }).into_iter().collect()
    }
}

struct FakeObserver {
    behaviours: Mutex<BTreeMap<String, (Behaviour, Meta)>>,
    tasks: AtomicUsize,
}

impl Observer for FakeObserver {
    type R = Fake;

    fn observe(&self, key: &Key, _: EpochView) -> Sight<FakeView> {
        let behaviours = self.behaviours.lock().unwrap();
        let Some((behaviour, meta)) = behaviours.get(&key.name).cloned() else {
            return Sight::Gone;
        };
        assert!(behaviour != Behaviour::PanicsUnseen, "another mistake of ours");
        let subject = subject(Kind::CONFIG_MAP, &meta);
        Sight::Found(Box::new(Found { view: FakeView(behaviour, meta), subject }))
    }

    fn metas(view: &FakeView) -> Vec<&Meta> {
        vec![&view.1]
    }

    fn run(&self, _: &Key, _: &FakeView, _: &u8) -> Work {
        self.tasks.fetch_add(1, Ordering::Relaxed);
        Box::pin(async { panic!("a mistake in a task") })
    }

    fn forget(&self, _: &Key) {}
}

/// A shell whose API server counts requests and answers with a fixed Lease of another uid, or an empty object.
struct Bench {
    reconcile: Reconcile<FakeObserver>,
    leadership: Arc<Leadership>,
    telemetry: Arc<Telemetry>,
    requests: Arc<AtomicUsize>,
}

impl Bench {
    fn new(behaviours: &[(&str, Behaviour, Meta)], lease: &'static str) -> Self {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        let service = tower::service_fn(move |request: http::Request<Body>| {
            counted.fetch_add(1, Ordering::Relaxed);
            let is_lease = request.uri().path().contains("/leases/");
            let text = if is_lease { lease } else { r#"{"metadata":{"name":"a"}}"# };
            async move { Ok::<_, Infallible>(http::Response::new(Body::from(text.as_bytes().to_vec()))) }
        });
        let client = kube::Client::new(service, "default");
        let config = Config::for_tests("me");
        let leadership = Arc::new(Leadership::default());
        let term = Term { lease: "l".into(), lease_uid: "u".into(), acquired: 7.into() };
        leadership.grant(term, Instant::now() + Duration::from_secs(1_000_000));
        let telemetry = Arc::new(Telemetry::new());
        let start: DateTime<Utc> = "2026-01-01T00:00:00Z".parse().unwrap();
        let clock: Arc<dyn Clock> = Arc::new(RuntimeClock::starting_at(start));
        let (events, _) = Events::new(
            client.clone(),
            Arc::clone(&clock),
            Arc::clone(&leadership),
            Arc::clone(&telemetry),
            "me".into(),
        );
        let shell = Shell {
            clock,
            stores: Stores::new(Arc::new(Queue::default())),
            executor: Executor {
                client,
                leadership: Arc::clone(&leadership),
                telemetry: Arc::clone(&telemetry),
                pace: Arc::new(crate::pace::Pace::new(32)),
                limit: Duration::from_secs(5),
            },
            leadership: Arc::clone(&leadership),
            lease: lease::Address::of(&config.lease),
            events,
            telemetry: Arc::clone(&telemetry),
            jitter: Jitter::seeded(1),
            rules: FenceRules::ALL,
        };
        let behaviours = behaviours.iter().cloned();
        let behaviours = behaviours.map(|(name, what, meta)| (name.to_owned(), (what, meta)));
        let observer = FakeObserver {
            behaviours: Mutex::new(behaviours.collect()),
            tasks: AtomicUsize::new(0),
        };
        let reconcile = Reconcile::new(Arc::new(observer), Arc::new(shell));
        Self { reconcile, leadership, telemetry, requests }
    }

    /// Returns the name of the key that is to be decided next, if that is soon enough.
    async fn woken_within(&self, time: Duration) -> Option<String> {
        let next = self.reconcile.shell.stores.queue.next();
        tokio::time::timeout(time, next).await.ok().flatten().map(|key| key.name)
    }

    async fn run(&self, name: &str) -> usize {
        let before = self.requests.load(Ordering::Relaxed);
        self.reconcile.reconcile(&Key::new(Role::Rollouts, "shop", name)).await;
        self.requests.load(Ordering::Relaxed) - before
    }
}

fn stamped(stamp: &str) -> Meta {
    let annotations = [(format!("{EPOCH_PREFIX}l"), stamp.to_owned())].into();
    Meta { name: "a".into(), annotations, ..Meta::default() }
}

#[tokio::test(start_paused = true)]
async fn a_panic_quarantines_its_object_and_stops_nobody_else() {
    let plain = Meta::default;
    let bench = Bench::new(
        &[("bad", Behaviour::Panics, plain()), ("good", Behaviour::Writes, plain())],
        "{}",
    );
    assert_eq!(bench.run("bad").await, 0);
    assert_eq!(bench.run("good").await, 1);
    assert!(bench.telemetry.text().contains("sluice_panics_total{role=\"rollouts\"} 1"));
    // In quarantine it is not even decided; after a while it gets another chance.
    bench.run("bad").await;
    assert!(bench.telemetry.text().contains("sluice_panics_total{role=\"rollouts\"} 1"));
    tokio::time::advance(Duration::from_secs(11)).await;
    bench.run("bad").await;
    assert!(bench.telemetry.text().contains("sluice_panics_total{role=\"rollouts\"} 2"));
}

#[tokio::test(start_paused = true)]
async fn a_panic_outside_of_deciding_quarantines_its_object_as_well() {
    let bench = Bench::new(&[("a", Behaviour::PanicsUnseen, Meta::default())], "{}");
    assert_eq!(bench.run("a").await, 0);
    assert!(bench.telemetry.text().contains("sluice_panics_total{role=\"rollouts\"} 1"));
    assert_eq!(bench.woken_within(Duration::from_secs(11)).await, Some("a".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_task_is_counted_and_the_task_gets_another_chance_later() {
    let bench = Bench::new(&[("a", Behaviour::PanicsInTask, Meta::default())], "{}");
    let tasks = || bench.reconcile.observer.tasks.load(Ordering::Relaxed);
    bench.run("a").await;
    tokio::time::sleep(Duration::from_secs(9)).await;
    bench.run("a").await;
    assert_eq!(tasks(), 1);
    assert!(bench.telemetry.text().contains("sluice_panics_total{role=\"rollouts\"} 1"));
    tokio::time::sleep(Duration::from_secs(2)).await;
    bench.run("a").await;
    assert_eq!(tasks(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_decision_that_breaks_an_invariant_is_counted_not_executed_and_looked_at_again() {
    let bench = Bench::new(&[("a", Behaviour::Violates, Meta::default())], "{}");
    assert_eq!(bench.run("a").await, 0);
    assert_eq!(bench.woken_within(Duration::from_secs(2)).await, Some("a".to_owned()));
    assert!(bench.telemetry.text().contains("sluice_invariant_violations_total{id=\"S2\"} 1"));
}

#[tokio::test(start_paused = true)]
async fn a_stamp_of_a_newer_term_ends_the_process_before_it_writes() {
    let bench = Bench::new(&[("a", Behaviour::Writes, stamped("u:8:1"))], "{}");
    assert_eq!(bench.run("a").await, 0);
    assert!(bench.leadership.lost().await.contains("newer term"));
}

#[tokio::test(start_paused = true)]
async fn a_stamp_of_another_lease_is_replaced_only_while_ours_is_held_by_a_live_read() {
    let ours = r#"{"metadata":{"uid":"u"},"spec":{"holderIdentity":"me"}}"#;
    let bench = Bench::new(&[("a", Behaviour::Writes, stamped("gone:9:1"))], ours);
    assert_eq!(bench.run("a").await, 2, "the read of the Lease, and the write");
    assert_eq!(bench.run("a").await, 1, "it is known from then on");

    let theirs = r#"{"metadata":{"uid":"u"},"spec":{"holderIdentity":"another"}}"#;
    let bench = Bench::new(&[("a", Behaviour::Writes, stamped("gone:9:1"))], theirs);
    assert_eq!(bench.run("a").await, 1, "the read of the Lease only");
    assert!(!bench.leadership.leads());

    let bench = Bench::new(&[("a", Behaviour::Writes, stamped("gone:9:1"))], "no Lease at all");
    assert_eq!(bench.run("a").await, 1, "the read of the Lease only");
    assert_eq!(bench.woken_within(Duration::from_secs(1)).await, Some("a".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn without_leadership_nothing_is_decided_or_sent() {
    let bench = Bench::new(&[("a", Behaviour::Writes, Meta::default())], "{}");
    bench.leadership.resign();
    assert_eq!(bench.run("a").await, 0);
}
