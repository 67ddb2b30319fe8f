use sluice_e2e::{bed, bed::parts, inside};
fn main() -> anyhow::Result<std::process::ExitCode> {
    let cache = parts::Cache::open()?;
    let parts = parts::Parts::resolve(&cache, &|l| eprintln!("{l}"))?;
    let inside = match inside::enter(&cache)? { inside::Entered::Inside(i) => i, inside::Entered::Outside(c) => return Ok(c) };
    tracing_subscriber::fmt().with_writer(std::io::stderr).init();
    tokio::runtime::Runtime::new()?.block_on(async {
        let t = std::time::Instant::now();
        std::fs::create_dir_all(inside.run.join("logs"))?;
        let net = std::sync::Arc::new(bed::network::Network::start().await?);
        let auth = bed::identity::Authority::create(&inside.run.join("identity"))?;
        let (cp, client) = bed::control_plane::ControlPlane::start(&parts, &inside.run, &auth).await?;
        eprintln!("api {:?}", t.elapsed());
        let ap = bed::apply::Applier::new(client.clone(), "x");
        let kc = bed::identity::client(&auth.kubeconfig("bed:kubelet", None)?).await?;
        let _k = bed::kubelet::Kubelet::start(kc, net, bed::kubelet::Options { nodes: 2, start_delay: std::time::Duration::from_secs(1), crash_backoff: std::time::Duration::from_secs(1), backend: std::env::current_exe()?.with_file_name("sluice-backend"), logs: inside.run.join("logs"), targets: inside.run.join("targets.json") }).await?;
        cp.workers_ready(&client).await?;
        eprintln!("workers {:?}", t.elapsed());
        ap.yaml("default", &std::fs::read_to_string("/tmp/bedlog/try.yaml")?).await?;
        let st = tokio::process::Command::new("bash").arg("/tmp/bedlog/try.sh").env("KUBECONFIG", auth.file("admin.kubeconfig")).env("PATH", format!("{}:{}", parts.kubectl.parent().unwrap().display(), std::env::var("PATH")?)).status().await?;
        eprintln!("{st} {:?}", t.elapsed());
        anyhow::Ok(())
    })?;
    Ok(std::process::ExitCode::FAILURE)
}
