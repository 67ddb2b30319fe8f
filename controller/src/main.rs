//! The controller's process: flags, log, signals.

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use sluice_controller::client::Clients;
use sluice_controller::config::{Config, Flags};
use sluice_controller::{Deps, telemetry};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

fn main() -> ExitCode {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let result = runtime.context("no runtime").and_then(|runtime| {
        let result = runtime.block_on(controller());
        runtime.shutdown_background();
        result
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn controller() -> anyhow::Result<()> {
    // A second installation would mean that a library chose already; either is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let started = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let host = std::env::var("POD_NAME")
        .or_else(|_| std::env::var("HOSTNAME"))
        .unwrap_or_else(|_| "sluice".to_owned());
    // Unique for each start: a restarted process is another candidate, and seeds its own jitter.
    let seed = u64::try_from(started.as_nanos()).unwrap_or(0) ^ u64::from(std::process::id());
    let config = Config::validated(Flags::parse(), format!("{host}_{seed:x}"), seed)?;
    telemetry::log(&config);
    let clients = Clients::connect(&config.target).await?;
    let (send, stop) = watch::channel(false);
    let (mut term, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
        let _ = send.send(true);
        // A second signal does not wait for the first.
        tokio::select! { _ = term.recv() => {}, _ = interrupt.recv() => {} }
        std::process::exit(1);
    });
    let deps = Deps::real(&config, stop)?;
    sluice_controller::run(config, clients, deps).await?;
    Ok(())
}
