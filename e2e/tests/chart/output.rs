//! What the chart renders, and what it refuses.

use std::{collections::BTreeSet, fs, sync::Arc};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use sluice_e2e::bed::{
    Bed,
    apply::{documents, folder},
};

use crate::{
    helm::{Helm, charts, object, values, words},
    rights,
};

/// Set to write the committed manifests anew.
const UPDATE: &str = "UPDATE_GOLDENS";
const HEAD: &str =
    "# Rendered from charts/sluice with values.yaml of this folder; charts/README.md says how.\n";

pub(crate) async fn the_chart_is_clean_and_what_is_committed_comes_from_it(
    bed: Arc<Bed>,
) -> Result<()> {
    let helm = Helm::new(&bed, "chart-output")?;
    let chart = charts("sluice");
    helm.run(&["lint", "--strict", &chart.to_string_lossy()]).await?;
    for (name, file) in
        [("install", "install.yaml"), ("namespace-install", "namespace-install.yaml")]
    {
        let flags = values(name);
        let mut lint = vec!["lint", "--strict"];
        lint.extend(flags.iter().map(String::as_str));
        let chart = chart.to_string_lossy();
        lint.push(&chart);
        helm.run(&lint).await?;
        let rendered = HEAD.to_owned() + &helm.template(&flags).await?;
        let path = charts(name).join(file);
        if std::env::var_os(UPDATE).is_some() {
            fs::write(&path, &rendered)?;
        }
        let committed = fs::read_to_string(&path).context(file)?;
        let differs = rendered.lines().zip(committed.lines()).position(|(a, b)| a != b);
        ensure!(
            rendered == committed,
            "{file} is not what the chart renders, from line {}: `{UPDATE}=1 cargo test --workspace --test chart -- \
             what_is_committed` writes it anew",
            differs.unwrap_or(0) + 1
        );
        let (built, plain) = (helm.kustomize(&charts(name)).await?, documents(&rendered)?);
        ensure!(names(&built) == names(&plain), "kustomize builds other objects than {file} has");
    }
    let plain = documents(&helm.template(&values("install")).await?)?;
    copies_the_crds(&bed, &plain)?;
    has_the_rights_of_the_controller(&bed, &plain)?;
    let (granted, documented) = (rights::granted(&plain), rights::documented());
    let differing: Vec<_> = granted.symmetric_difference(&documented).collect();
    ensure!(differing.is_empty(), "docs/install.md has other rights than the chart: {differing:?}");
    let namespaced = documents(&helm.template(&values("namespace-install")).await?)?;
    let outside = namespaced.iter().find(|o| {
        let kind = o["kind"].as_str().unwrap_or_default();
        kind.starts_with("Cluster") || kind == "Namespace" || kind == "CustomResourceDefinition"
    });
    ensure!(outside.is_none(), "not of a namespace: {}", outside.unwrap_or(&Value::Null));
    let fixed = namespaced.iter().find(|o| !o["metadata"]["namespace"].is_null());
    ensure!(fixed.is_none(), "it fits one namespace only: {}", fixed.unwrap_or(&Value::Null));
    Ok(())
}

fn names(all: &[Value]) -> BTreeSet<String> {
    let name = |o: &Value| format!("{} {}", o["kind"], o["metadata"]["name"]);
    all.iter().map(name).collect()
}

/// The CRDs are those of the product, and Helm keeps them.
fn copies_the_crds(bed: &Bed, rendered: &[Value]) -> Result<()> {
    for mut crd in folder(&bed.options.crds)? {
        let name = crd["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        let ours = object(rendered, "CustomResourceDefinition", &name)?;
        let kept = &ours["metadata"]["annotations"]["helm.sh/resource-policy"];
        ensure!(kept == "keep", "`{name}` would be deleted with the release");
        crd["metadata"] = ours["metadata"].clone();
        ensure!(
            crd == *ours,
            "the chart's CRD `{name}` is not that of crds/yaml: `cargo xtask generate`"
        );
    }
    Ok(())
}

/// With default values, account and rights are those of `controller/rbac`, name for name.
fn has_the_rights_of_the_controller(bed: &Bed, rendered: &[Value]) -> Result<()> {
    let bare = |object: &Value| {
        let meta = &object["metadata"];
        json!({ "kind": object["kind"], "name": meta["name"], "namespace": meta["namespace"],
            "rules": object["rules"], "roleRef": object["roleRef"], "subjects": object["subjects"] })
    };
    let is_right = |o: &&Value| {
        let kind = o["kind"].as_str().unwrap_or_default();
        kind.contains("Role") || kind == "ServiceAccount" || kind == "Namespace"
    };
    let rights = |all: &[Value]| all.iter().filter(is_right).map(bare).collect::<Vec<_>>();
    let (wanted, found) = (rights(&folder(&bed.options.rbac)?), rights(rendered));
    let missing: Vec<_> = wanted.iter().filter(|right| !found.contains(right)).collect();
    let more: Vec<_> = found.iter().filter(|right| !wanted.contains(right)).collect();
    ensure!(
        missing.is_empty() && more.is_empty(),
        "the chart lacks of controller/rbac: {missing:#?}, and has besides: {more:#?}"
    );
    let wildcard = rendered.iter().flat_map(|o| o["rules"].as_array()).flatten().find(|rule| {
        ["apiGroups", "resources", "verbs"].iter().any(|key| words(&rule[key]).contains(&"*"))
    });
    ensure!(wildcard.is_none(), "a wildcard: {}", wildcard.unwrap_or(&Value::Null));
    Ok(())
}

pub(crate) async fn each_value_reaches_what_it_is_for(bed: Arc<Bed>) -> Result<()> {
    let helm = Helm::new(&bed, "chart-values")?;
    let set = |flags: &[&str]| {
        let all = ["crds.install=false"].iter().chain(flags);
        all.flat_map(|flag| ["--set-json".to_owned(), quoted(flag)]).collect::<Vec<_>>()
    };
    let render = async |flags: &[&str]| documents(&helm.template(&set(flags)).await?);

    let all = render(&["applications.enabled=false", "instanceId=blue"]).await?;
    let kept: Vec<_> =
        all.iter().filter(|o| o["kind"].as_str().is_some_and(|k| k.contains("Role"))).collect();
    ensure!(kept.len() == 4, "without Applications it has the rights {kept:#?}");
    let lease = object(&all, "Role", "sluice-lease")?;
    ensure!(words(&lease["rules"][1]["resourceNames"]) == ["argo-rollouts-controller-lock-blue"]);
    let args = args(&all)?;
    ensure!(args.contains(&"--controllers=rollouts,analysis".to_owned()), "{args:?}");
    ensure!(args.contains(&"--instance-id=blue".to_owned()), "{args:?}");

    let rule = r#"{"apiGroups":["batch"],"resources":["cronjobs"],"verbs":["get"]}"#;
    let all = render(&[
        &format!("rbac.extraSyncRules=[{rule}]"),
        r#"rbac.readableSecrets=[{"namespace":"shop","names":["token"]}]"#,
        "metrics.serviceMonitor.enabled=true",
        "metrics.rules.enabled=true",
        "applications.namespace=apps",
    ])
    .await?;
    let sync = object(&all, "ClusterRole", "sluice-sync")?["rules"].as_array().cloned();
    ensure!(sync.and_then(|rules| rules.last().cloned()) == Some(serde_json::from_str(rule)?));
    let secrets = object(&all, "Role", "sluice-secrets")?;
    ensure!(secrets["metadata"]["namespace"] == "shop", "{secrets}");
    ensure!(
        secrets["rules"]
            == json!([{ "apiGroups": [""], "resources": ["secrets"],
        "resourceNames": ["token"], "verbs": ["get"] }]),
        "{secrets}"
    );
    ensure!(object(&all, "Role", "sluice-applications")?["metadata"]["namespace"] == "apps");
    let (service, monitor) =
        (object(&all, "Service", "sluice-metrics")?, object(&all, "ServiceMonitor", "sluice")?);
    let wanted = monitor["spec"]["selector"]["matchLabels"].as_object().context("labels")?;
    let labels = &service["metadata"]["labels"];
    ensure!(
        wanted.iter().all(|(key, value)| labels[key] == *value),
        "{monitor} selects not {service}"
    );
    ensure!(monitor["spec"]["endpoints"][0]["port"] == service["spec"]["ports"][0]["name"]);
    let rules = documents(&fs::read_to_string(charts("sluice/files/rules.yaml"))?)?;
    ensure!(Some(&object(&all, "PrometheusRule", "sluice")?["spec"]) == rules.first());
    the_test_asks_the_service(&helm, service).await
}

/// `helm test` has a Pod that asks the Service by its name.
async fn the_test_asks_the_service(helm: &Helm, service: &Value) -> Result<()> {
    let flags = ["--show-only", "templates/tests/metrics.yaml"].map(str::to_owned);
    let chart = charts("sluice");
    let mut words = vec!["template", "sluice"];
    let chart = chart.to_string_lossy();
    words.push(&chart);
    words.extend(flags.iter().map(String::as_str));
    let pod = documents(&helm.run(&words).await?)?;
    let asked = &pod.first().context("no test")?["spec"]["containers"][0]["env"][0]["value"];
    let (name, port) = (&service["metadata"]["name"], &service["spec"]["ports"][0]["port"]);
    let wanted = format!("http://{}:{port}/metrics", name.as_str().unwrap_or_default());
    ensure!(*asked == *wanted, "the test asks {asked}, not {wanted}");
    Ok(())
}

/// `key=text` as `--set-json` wants it; what is JSON already is left so.
fn quoted(flag: &str) -> String {
    match flag.split_once('=') {
        Some((key, value)) if serde_json::from_str::<Value>(value).is_err() => {
            format!("{key}=\"{value}\"")
        }
        _ => flag.to_owned(),
    }
}

fn args(all: &[Value]) -> Result<Vec<String>> {
    let deployment = object(all, "Deployment", "sluice")?;
    let container = &deployment["spec"]["template"]["spec"]["containers"][0];
    Ok(words(&container["args"]).into_iter().map(str::to_owned).collect())
}

pub(crate) async fn wrong_values_are_refused_by_their_path(bed: Arc<Bed>) -> Result<()> {
    let helm = Helm::new(&bed, "chart-wrong")?;
    for (flags, named) in [
        (&["replicas=0"][..], "/replicas"),
        (&["replica=3"], "replica"),
        (&["logLevel=loud"], "/logLevel"),
        (&["instanceId=Blue"], "/instanceId"),
        (&["image.digest=latest"], "/image/digest"),
        (&["networkPolicy.egressPorts=[70000]"], "/networkPolicy/egressPorts/0"),
        (&[r#"extraArgs=["--metricsport=1"]"#], "/extraArgs/0"),
        (
            &[r#"rbac.extraSyncRules=[{"apiGroups":["*"],"resources":["a"],"verbs":["get"]}]"#],
            "/rbac/extraSyncRules/0/apiGroups/0",
        ),
        (&["namespaced=true", "applications.namespace=argocd"], "applications.namespace"),
        (&[r#"rbac.readableSecrets=[{"names":["token"]}]"#], "rbac.readableSecrets[].namespace"),
    ] {
        let set: Vec<_> =
            flags.iter().flat_map(|flag| ["--set-json".to_owned(), quoted(flag)]).collect();
        let refused = helm.template(&set).await.err();
        let refused = refused.with_context(|| format!("{flags:?} is accepted"))?.to_string();
        ensure!(refused.contains(named), "{flags:?} is refused without naming {named}: {refused}");
    }
    Ok(())
}
