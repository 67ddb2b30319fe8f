//! `cargo xtask demo`: the product's main job on the bed, with measured figures.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Parser;
use sluice_e2e::bed::controller::{Installation, Instance};
use sluice_e2e::bed::parts::{Cache, Parts};
use sluice_e2e::bed::{Bed, Options, sibling};
use sluice_e2e::demo::ear::Ear;
use sluice_e2e::demo::shop::Eyes;
use sluice_e2e::demo::story::Stage;
use sluice_e2e::demo::timeline::Timeline;
use sluice_e2e::inside::{Entered, Inside, enter};

/// Plays the main story on a real control plane, istiod, Envoy, Prometheus and git.
#[derive(Parser)]
#[command(name = "cargo xtask demo")]
struct Arguments {
    /// Leaves the bed up afterwards, and prints a kubeconfig and addresses that work from your own shell.
    #[arg(long)]
    keep: bool,
    /// Short pauses.
    #[arg(long)]
    fast: bool,
    /// No colours.
    #[arg(long)]
    plain: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let cache = Cache::open()?;
    let inside = match enter(&cache)? {
        Entered::Outside(code) => return Ok(code),
        Entered::Inside(inside) => inside,
    };
    let say = |line: &str| eprintln!("{line}");
    let parts = Parts::resolve(&cache, &say)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(play(&arguments, parts, inside))
}

async fn play(arguments: &Arguments, parts: Parts, inside: Inside) -> Result<ExitCode> {
    let timeline = Timeline::new(arguments.plain);
    let bed = Bed::start(parts, inside, Options::standard()?, &|line: &str| eprintln!("{line}"))
        .await
        .context("the bed")?;
    timeline.moment(
        "bed",
        &format!(
            "ready in {:.1} s (etcd, kube-apiserver, istiod, Envoy, Prometheus, git)",
            bed.took.as_secs_f64()
        ),
    );
    let installation = Installation::prepare(&bed).await?;
    let controller = installation.start(Instance::new(&sibling("sluice-controller")?)).await?;
    timeline.moment("sluice", "installed, under its own service account and rights");
    let mut stage = Stage {
        timeline,
        eyes: Eyes::new(bed.admin.clone()),
        repository: bed.git.create("shop").await?,
        controller,
        ear: Ear::start().await?,
        cli: sibling("kubectl-sluice")?,
        kubeconfig: bed.authority.kubeconfig("admin", Some("system:masters"))?,
        pause: Duration::from_secs(if arguments.fast { 3 } else { 5 }),
        bed,
    };
    let played = stage.play().await;
    let broken = stage.timeline.end();
    for promise in &broken {
        eprintln!("broken: {}: {}", promise.text, promise.seen);
    }
    if let Err(error) = &played {
        eprintln!("error: {error:#}");
    }
    if arguments.keep {
        keep(&stage.bed).await?;
    }
    Ok(if broken.is_empty() && played.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn keep(bed: &Bed) -> Result<()> {
    eprintln!("the bed stays up until Ctrl-C; from another shell:");
    eprintln!("  export KUBECONFIG={}", bed.outside_kubeconfig()?.display());
    for name in ["gateway", "prometheus", "envoy", "git", "controller"] {
        eprintln!("  {name:<12}{}", bed.outside_url(name));
    }
    eprintln!("  requests:   curl -H 'Host: checkout.shop' {}/", bed.outside_url("gateway"));
    tokio::signal::ctrl_c().await?;
    Ok(())
}
