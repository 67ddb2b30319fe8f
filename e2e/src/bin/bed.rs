use sluice_e2e::{bed, bed::parts, inside};
fn main() -> anyhow::Result<std::process::ExitCode> {
    let cache = parts::Cache::open()?;
    let parts = parts::Parts::resolve(&cache, &|l| eprintln!("{l}"))?;
    let inside = match inside::enter(&cache)? { inside::Entered::Inside(i) => i, inside::Entered::Outside(c) => return Ok(c) };
    tokio::runtime::Runtime::new()?.block_on(async {
        let t = std::time::Instant::now();
        std::fs::create_dir_all(inside.run.join("logs"))?;
        let net = bed::network::Network::start().await?;
        let a = net.add_pod().await?;
        net.remove_pod(&a).await?;
        eprintln!("net {:?}", t.elapsed());
        let auth = bed::identity::Authority::create(&inside.run.join("identity"))?;
        let (cp, client) = bed::control_plane::ControlPlane::start(&parts, &inside.run, &auth).await?;
        eprintln!("api {:?}", t.elapsed());
        let ap = bed::apply::Applier::new(client.clone(), "x");
        let docs = bed::apply::documents(&std::fs::read_to_string(&parts.istio_crds)?)?;
        eprintln!("docs {} {:?}", docs.len(), t.elapsed());
        ap.objects("default", docs).await?;
        eprintln!("crds {:?}", t.elapsed());
        cp.workers_ready(&client).await?;
        eprintln!("workers {:?}", t.elapsed());
        anyhow::Ok(())
    })?;
    Ok(std::process::ExitCode::FAILURE)
}
