//! `cargo xtask demo --sim`: the main story for a first look, without root, Go or waiting.
//!
//! Real: the controller library, Git over smart HTTP, `kubectl-sluice`. Simulated: the API server (on a loopback port), Pods,
//! traffic, Prometheus. Nothing here shows anything about Envoy; `cargo xtask demo` does.
#![expect(clippy::print_stdout, reason = "the demo's output is its purpose")]

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use clap::Parser;

mod cluster;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the same git server as the bed's, which uses all of it"
)]
#[path = "../../../e2e/src/bed/git.rs"]
mod git;
mod http;
mod metrics;
mod shop;
mod story;
#[allow(
    dead_code,
    unreachable_pub,
    reason = "the same timeline as the demo on the bed, which uses all of it"
)]
#[path = "../../../e2e/src/demo/timeline.rs"]
mod timeline;
mod traffic;

use cluster::Cluster;
use story::Stage;
use timeline::Timeline;

/// Plays the main story with simulated Pods, traffic and metrics.
#[derive(Parser)]
#[command(name = "cargo xtask demo --sim")]
struct Arguments {
    /// Stays up afterwards, until Ctrl-C.
    #[arg(long)]
    keep: bool,
    /// No colours.
    #[arg(long)]
    plain: bool,
    /// Shows the controller's log.
    #[arg(long)]
    log: bool,
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
    let cli = cli()?;
    let git = std::process::Command::new("git").arg("--version").output();
    let found = git.is_ok_and(|git| git.status.success());
    ensure!(found, "`git` is missing; get it with `apt-get install git`");
    // A second installation would mean that a library chose already; either is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let folder = Folder::make()?;
    let code = runtime.block_on(play(&arguments, cli, &folder));
    runtime.shutdown_background();
    code
}

async fn play(arguments: &Arguments, cli: PathBuf, folder: &Folder) -> Result<ExitCode> {
    let cluster = Cluster::start(&folder.0, arguments.log).await?;
    let server = cluster.url.clone();
    println!(
        "Pods, traffic and metrics are simulated: this shows what Sluice decides and writes, and claims"
    );
    println!(
        "nothing about Envoy. Controller, Git over HTTP and CLI are the real ones. While it runs:"
    );
    println!("  kubectl --server {server} get rollouts -n {}", shop::NAMESPACE);
    println!(
        "  {} --server {server} get rollout {} -n {}",
        cli.display(),
        shop::NAME,
        shop::NAMESPACE
    );
    println!();
    let server = git::GitServer::start(&folder.0, 0).await?;
    let mut stage = Stage::new(Timeline::new(arguments.plain), cluster, &server, cli).await?;
    let played = tokio::select! {
        played = stage.play() => played,
        _ = tokio::signal::ctrl_c() => {
            stage.cluster.end().await;
            return Ok(ExitCode::FAILURE);
        }
    };
    let broken = stage.timeline.end();
    for promise in &broken {
        eprintln!("broken: {}: {}", promise.text, promise.seen);
    }
    if let Err(error) = &played {
        eprintln!("error: {error:#}");
    }
    if arguments.keep {
        println!("stays up at {} until Ctrl-C", stage.cluster.url);
        tokio::signal::ctrl_c().await?;
    }
    stage.cluster.end().await;
    Ok(if broken.is_empty() && played.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// `kubectl-sluice` of the same build: examples are one folder below the programs.
fn cli() -> Result<PathBuf> {
    let own = std::env::current_exe()?;
    let programs = own.parent().and_then(|examples| examples.parent());
    let cli = programs.context("a program lies in a folder")?.join("kubectl-sluice");
    ensure!(
        cli.exists(),
        "{} is missing; run `cargo xtask demo --sim`, which builds it",
        cli.display()
    );
    Ok(cli)
}

/// Repositories and caches of this run; gone with it.
struct Folder(PathBuf);

impl Folder {
    fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sluice-demo-{}", std::process::id()));
        std::fs::create_dir_all(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is left to whoever cleans the folder of temporary files.
        std::fs::remove_dir_all(&self.0).ok();
    }
}
