//! Everybody on stage: the lanes of a test, each twice (with the controllers that are disturbed, and with one that is left
//! alone), their stories, and the load.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use anyhow::{Context as _, Result, bail, ensure};
use futures::{StreamExt as _, future::try_join_all, stream};
use serde_json::json;
use sluice_e2e::{
    bed::{
        Bed,
        apply::Applier,
        controller::{self, Controller, Installation, Instance},
        process::until,
        sibling,
    },
    laws,
    load::Load,
};
use tokio::{
    sync::{OnceCell, watch},
    task::{JoinHandle, JoinSet, spawn_blocking},
    time::timeout,
};

use crate::{
    ending,
    eyes::{self, Eyes},
    lanes::Lane,
    player::{Oracles, Player, Script},
};

/// How long the stories may go on when nobody disturbs any more.
const FINALE: Duration = Duration::from_secs(90);
/// Requests a second on a loaded lane.
const RATE: f64 = 20.0;
/// The instance id of the controller that is left alone.
const CALM: &str = "calm";

static INSTALLATION: OnceCell<Installation> = OnceCell::const_new();
static CALM_ONE: OnceCell<JoinHandle<Result<()>>> = OnceCell::const_new();

/// The product's account and rights, and the right to Leases of further names: each instance id has a Lease of its own.
pub(crate) async fn installation(bed: &Bed) -> Result<Installation> {
    let prepare = || async {
        let installation = Installation::prepare(bed).await?;
        let name = json!({ "name": "survival-leases", "namespace": controller::NAMESPACE });
        let group = "rbac.authorization.k8s.io";
        let rule = json!({ "apiGroups": ["coordination.k8s.io"], "resources": ["leases"],
            "verbs": ["create", "get", "patch"] });
        let role = json!({ "apiVersion": format!("{group}/v1"), "kind": "Role", "metadata": name,
            "rules": [rule] });
        let account = json!({ "kind": "ServiceAccount", "name": controller::ACCOUNT,
            "namespace": controller::NAMESPACE });
        let binding = json!({ "apiVersion": format!("{group}/v1"), "kind": "RoleBinding",
            "metadata": name, "subjects": [account],
            "roleRef": { "apiGroup": group, "kind": "Role", "name": "survival-leases" } });
        let applier = Applier::new(bed.admin.clone(), "survival");
        applier.objects(controller::NAMESPACE, vec![role, binding]).await?;
        Ok::<_, anyhow::Error>(installation)
    };
    INSTALLATION.get_or_try_init(prepare).await.cloned()
}

/// A controller for the Rollouts with an instance id (all kinds where it is empty), with these times of the Lease in
/// milliseconds: duration, renew deadline, retry period.
pub(crate) fn instance(
    name: &str,
    port: u16,
    id: &str,
    lease: Option<[u32; 3]>,
) -> Result<Instance> {
    let mut args = Vec::new();
    if !id.is_empty() {
        args.push(format!("--instance-id={id}"));
        args.push("--controllers=rollouts,analysis".to_owned());
    }
    let flags = ["lease-duration", "renew-deadline", "retry-period"];
    for (flag, milliseconds) in flags.iter().zip(lease.into_iter().flatten()) {
        args.push(format!("--leader-election-{flag}={milliseconds}ms"));
    }
    // Terms here are shorter than what proxies are given by default.
    args.push("--switch-confirmation-delay=200ms".to_owned());
    args.push("--route-confirmation-delay=1s".to_owned());
    let binary: PathBuf = sibling("sluice-controller")?;
    Ok(Instance { name: name.to_owned(), binary, port, args })
}

/// Does `work` while instances that end by themselves are started anew.
pub(crate) async fn kept_alive<T>(
    controllers: &mut [Controller],
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let keep = try_join_all(controllers.iter_mut().map(Controller::keep_alive));
    tokio::select! {
        done = work => done,
        failed = keep => failed.and_then(|_| bail!("nothing is kept alive")),
    }
}

/// Who leads by the Lease: one of the controllers, under another identity than `than`; with its place among them.
pub(crate) async fn leads(
    bed: &Bed,
    lease: &str,
    controllers: &mut [Controller],
    than: &str,
) -> Result<(usize, String)> {
    let names: Vec<_> = controllers.iter().map(|one| one.name().to_owned()).collect();
    let found = until("another start leads", Duration::from_secs(30), || async {
        let holder = controller::holder(bed, lease).await?.filter(|holder| holder != than);
        Ok(holder.and_then(|holder| {
            let place = names.iter().position(|name| controller::is_of(&holder, name))?;
            Some((place, holder))
        }))
    });
    kept_alive(controllers, found).await
}

async fn calm(bed: &Bed) -> Result<()> {
    let start = || async {
        // Nobody is to take its Lease, however busy the machine is.
        let times = Some([60_000, 50_000, 2000]);
        let mut one = installation(bed).await?.start(instance(CALM, 8190, CALM, times)?).await?;
        Ok::<_, anyhow::Error>(tokio::spawn(async move { one.keep_alive().await.map(|_| ()) }))
    };
    CALM_ONE.get_or_try_init(start).await?;
    Ok(())
}

impl std::fmt::Display for Figures {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { versions, requests, revisions } = self;
        write!(
            f,
            "{versions} versions pushed, equal endings with and without; {requests} requests, none failed; {revisions} \
             revisions, no law broken"
        )
    }
}

/// The lanes of one test, with their stories under way.
pub(crate) struct Cast {
    pub(crate) eyes: Arc<Eyes>,
    pub(crate) disturbed: Vec<Player>,
    calm: Vec<Player>,
    enough: watch::Sender<bool>,
    stories: JoinSet<Result<u32>>,
    loads: Vec<(String, Load)>,
    _oracles: Oracles,
}

/// What a test tells about itself.
pub(crate) struct Figures {
    pub(crate) versions: u32,
    pub(crate) requests: usize,
    pub(crate) revisions: usize,
}

impl Cast {
    /// Sets up every lane, in `<prefix>-<lane>` for the controllers with the instance id and in `calm-<prefix>-<lane>` for the
    /// one that is left alone, and begins the stories; returns when every lane that stays in mid-canary is.
    pub(crate) async fn start(
        bed: &Arc<Bed>,
        prefix: &str,
        id: &'static str,
        lanes: Vec<Lane>,
    ) -> Result<Self> {
        calm(bed).await?;
        let (eyes, oracles) = (eyes::eyes(bed).await, Oracles::start().await?);
        let given = |namespace: String, id: &'static str, lane: Lane| {
            let (eyes, oracles) = (&eyes, &oracles);
            async move { Player::given(bed, eyes, &lane, &namespace, id, oracles).await }
        };
        let ours =
            lanes.iter().map(|lane| given(format!("{prefix}-{}", lane.name), id, lane.clone()));
        let calm = lanes
            .iter()
            .map(|lane| given(format!("{CALM}-{prefix}-{}", lane.name), CALM, lane.clone()));
        let (disturbed, calm) = tokio::try_join!(try_join_all(ours), try_join_all(calm))?;
        let (enough, told) = watch::channel(false);
        let mut cast = Self {
            eyes,
            disturbed,
            calm,
            enough,
            stories: JoinSet::new(),
            loads: Vec::new(),
            _oracles: oracles,
        };
        cast.loads().await?;
        for (one, other) in cast.disturbed.iter().zip(&cast.calm) {
            let (leads, follows) = Script::pair(told.clone());
            cast.stories.spawn(one.clone().plays(leads));
            cast.stories.spawn(other.clone().plays(follows));
        }
        let always = cast.disturbed.iter().filter(|p| p.lane.habit.is_always_under_way());
        try_join_all(always.map(Player::then_under_way)).await?;
        Ok(cast)
    }

    async fn loads(&mut self) -> Result<()> {
        for player in self.disturbed.iter().filter(|player| player.lane.loaded) {
            let scene = &player.stage.scene;
            until("twenty answers in a row", Duration::from_secs(60), || async {
                let record = scene.when_load_runs(scene.load(100.0).count(20)).finished().await;
                let good = record.samples.iter().filter(|sample| sample.status == 200).count();
                Ok((good == 20).then_some(()))
            })
            .await?;
            let load = scene.when_load_runs(scene.load(RATE));
            self.loads.push((player.namespace().to_owned(), load));
        }
        Ok(())
    }

    /// Namespaces of the lanes that are disturbed.
    pub(crate) fn namespaces(&self) -> BTreeSet<String> {
        self.disturbed.iter().map(|player| player.namespace().to_owned()).collect()
    }

    /// The newest term on any of the disturbed objects.
    pub(crate) fn newest_term(&self) -> u64 {
        let of = |player: &Player| {
            self.eyes.look(player.namespace(), |objects| {
                objects.values().map(eyes::term_of).max().unwrap_or(0)
            })
        };
        self.disturbed.iter().map(of).max().unwrap_or(0)
    }

    /// How many of the disturbed Rollouts are in mid-canary at this moment.
    pub(crate) fn in_mid_canary(&self) -> usize {
        self.disturbed.iter().filter(|player| player.is_mid_canary()).count()
    }

    /// Fails when a story ended: none should while Rollouts are being disturbed.
    pub(crate) fn ensure_under_way(&mut self) -> Result<()> {
        match self.stories.try_join_next() {
            None => Ok(()),
            Some(ended) => {
                ended.context("a story's task")??;
                bail!("a story ended before it was told to")
            }
        }
    }

    /// Lets the stories end, and shows that they ended as those that nobody disturbed, that no request failed and that no law
    /// was broken on the way.
    pub(crate) async fn ends(mut self, bed: &Arc<Bed>) -> Result<Figures> {
        self.enough.send_replace(true);
        let mut versions = 0;
        let all = async {
            while let Some(story) = self.stories.join_next().await {
                versions += story.context("a story's task")??;
            }
            Ok::<_, anyhow::Error>(())
        };
        timeout(FINALE, all).await.context("the stories did not end in time")??;
        let pairs = || self.disturbed.iter().zip(&self.calm);
        try_join_all(pairs().map(|(one, other)| ending::then_same(&self.eyes, one, other))).await?;
        let mut requests = 0;
        for (namespace, load) in std::mem::take(&mut self.loads) {
            let record = load.stop().await;
            ensure!(
                record.failed() == 0,
                "{namespace}: failed requests: {:?}",
                record.by_version()
            );
            requests += record.total();
        }
        let revisions = self.judge(bed).await?;
        // What was judged equal has stayed so meanwhile.
        try_join_all(pairs().map(|(one, other)| ending::then_same(&self.eyes, one, other))).await?;
        // Each version was pushed twice: also where nobody was disturbed.
        Ok(Figures { versions: versions / 2, requests, revisions })
    }

    /// The laws over every revision of every namespace; how many revisions there were.
    async fn judge(&self, bed: &Arc<Bed>) -> Result<usize> {
        let judge = |player: &Player| {
            let (bed, namespace) = (Arc::clone(bed), player.namespace().to_owned());
            spawn_blocking(move || {
                laws::check(&bed.recorder, &namespace)?;
                Ok::<_, anyhow::Error>(bed.recorder.history(&namespace)?.len())
            })
        };
        // Each of them reads the whole audit log: two at a time are enough for two cores.
        let all: Vec<_> = self.disturbed.iter().chain(&self.calm).collect();
        let mut judged = stream::iter(all).map(judge).buffer_unordered(2);
        let (mut revisions, mut broken) = (0, Vec::new());
        while let Some(result) = judged.next().await {
            match result? {
                Ok(count) => revisions += count,
                Err(error) => broken.push(format!("{error:#}")),
            }
        }
        ensure!(broken.is_empty(), "{}", broken.join("\n"));
        Ok(revisions)
    }
}
