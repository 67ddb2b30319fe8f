//! Serves an empty simulated cluster for kubectl: `cargo run -p sluice-sim --example serve 8001`, then
//! `kubectl --server http://127.0.0.1:8001 get pods -A`.

use std::error::Error;

use sluice_sim::clock::Clock;
use sluice_sim::serve::serve;
use sluice_sim::service::SimService;
use sluice_sim::workloads::WorkloadConfig;
use sluice_sim::world::World;
use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let port: u16 = std::env::args().nth(1).ok_or("usage: serve PORT")?.parse()?;
    let start = chrono::DateTime::from(std::time::SystemTime::now());
    let service =
        SimService::new(World::new(start, WorkloadConfig::default()), Clock::running(start));
    tokio::spawn(service.clone().drive());
    serve(service, TcpListener::bind(("127.0.0.1", port)).await?).await?;
    Ok(())
}
