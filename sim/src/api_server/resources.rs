//! Which resources the server serves, and what differs between them.

use serde_json::Value;
use sluice_crds::object::Kind;

/// One served resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Resource {
    /// Group; empty for the core group.
    pub group: String,
    /// Served versions, the stored one first.
    pub versions: Vec<String>,
    /// Kind.
    pub kind: String,
    /// Plural, as in paths.
    pub plural: String,
    /// Singular.
    pub singular: String,
    /// Short names for kubectl.
    pub short_names: Vec<String>,
    /// Categories for kubectl, such as `all`.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Whether status is a subresource.
    pub status: bool,
    /// Whether there is a `scale` subresource (`spec.replicas`, `status.replicas`).
    pub scale: bool,
    /// Path of the selector in the `scale` subresource, such as `status.selector`; a map or a string.
    pub scale_selector: String,
    /// Whether `metadata.generation` is counted.
    pub generation: bool,
    /// Whether the resource was defined by a CustomResourceDefinition.
    pub custom: bool,
    /// Columns of a Table, without Name.
    pub columns: Vec<Column>,
    /// Structural schema of the stored version, if a CustomResourceDefinition gave one.
    pub schema: Option<Value>,
}

/// One column of a Table.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Heading.
    pub name: String,
    /// `string`, `integer`, `number`, `boolean` or `date`.
    pub kind: String,
    /// Path in the object, such as `.status.phase`.
    pub path: String,
    /// 0: always shown; above: in wide output only.
    pub priority: i64,
}

impl Column {
    fn new(name: &str, kind: &str, path: &str) -> Self {
        Self { name: name.into(), kind: kind.into(), path: path.into(), priority: 0 }
    }
}

impl Resource {
    /// Returns `rollouts.argoproj.io`, or the plural alone in the core group.
    pub(crate) fn qualified_plural(&self) -> String {
        if self.group.is_empty() {
            self.plural.clone()
        } else {
            format!("{}.{}", self.plural, self.group)
        }
    }

    pub(crate) fn api_version(&self, version: &str) -> String {
        if self.group.is_empty() { version.into() } else { format!("{}/{version}", self.group) }
    }

    pub(crate) fn stored_version(&self) -> &str {
        self.versions.first().map_or("v1", String::as_str)
    }

    pub(crate) fn key(&self) -> (String, String) {
        (self.group.clone(), self.plural.clone())
    }

    fn of(kind: &Kind, namespaced: bool, short_names: &[&str]) -> Self {
        let spec_and_status = [Kind::REPLICA_SET, Kind::DEPLOYMENT, Kind::POD];
        Self {
            group: kind.group.to_string(),
            versions: vec![kind.version.to_string()],
            kind: kind.kind.to_string(),
            plural: kind.plural.to_string(),
            singular: kind.kind.to_lowercase(),
            short_names: short_names.iter().map(|&name| name.into()).collect(),
            categories: Vec::new(),
            namespaced,
            status: kind.status_subresource,
            scale: false,
            scale_selector: "spec.selector".into(),
            generation: spec_and_status.contains(kind),
            custom: false,
            columns: vec![age()],
            schema: None,
        }
    }

    fn scalable(mut self) -> Self {
        self.scale = true;
        self
    }

    fn custom(mut self, versions: &[&str], columns: Vec<Column>) -> Self {
        self.custom = true;
        self.generation = true;
        self.versions = versions.iter().map(|&version| version.into()).collect();
        self.columns = columns;
        self
    }

    fn counted(mut self) -> Self {
        self.generation = true;
        self
    }

    fn in_all(mut self) -> Self {
        self.categories = vec!["all".into()];
        self
    }
}

fn age() -> Column {
    Column::new("Age", "date", ".metadata.creationTimestamp")
}

fn kind(group: &'static str, name: &'static str, plural: &'static str, status: bool) -> Kind {
    Kind {
        group: group.into(),
        version: "v1".into(),
        kind: name.into(),
        plural: plural.into(),
        status_subresource: status,
    }
}

/// The kind of CustomResourceDefinitions.
pub(crate) const CRD_GROUP: &str = "apiextensions.k8s.io";

/// Returns the resources that every server has.
pub(crate) fn built_in() -> Vec<Resource> {
    const RBAC: &str = "rbac.authorization.k8s.io";
    vec![
        Resource::of(&Kind::NAMESPACE, false, &["ns"]),
        Resource::of(&kind("", "Node", "nodes", true), false, &["no"]),
        Resource::of(&Kind::POD, true, &["po"]).in_all(),
        Resource::of(&Kind::POD_TEMPLATE, true, &[]).counted(),
        Resource::of(&Kind::SERVICE, true, &["svc"]).in_all(),
        Resource::of(&Kind::CONFIG_MAP, true, &["cm"]),
        Resource::of(&Kind::SECRET, true, &[]),
        Resource::of(&Kind::EVENT, true, &["ev"]),
        Resource::of(&kind("", "ServiceAccount", "serviceaccounts", false), true, &["sa"]),
        Resource::of(
            &kind("", "PersistentVolumeClaim", "persistentvolumeclaims", true),
            true,
            &["pvc"],
        ),
        Resource::of(&Kind::REPLICA_SET, true, &["rs"]).scalable().in_all(),
        Resource::of(&Kind::DEPLOYMENT, true, &["deploy"]).scalable().in_all(),
        Resource::of(&kind("apps", "StatefulSet", "statefulsets", true), true, &["sts"])
            .scalable()
            .counted()
            .in_all(),
        Resource::of(&kind("apps", "DaemonSet", "daemonsets", true), true, &["ds"])
            .counted()
            .in_all(),
        Resource::of(&kind("batch", "Job", "jobs", true), true, &[]).counted().in_all(),
        Resource::of(&kind("batch", "CronJob", "cronjobs", true), true, &["cj"]).counted(),
        Resource::of(
            &kind("autoscaling", "HorizontalPodAutoscaler", "horizontalpodautoscalers", true),
            true,
            &["hpa"],
        ),
        Resource::of(
            &kind("policy", "PodDisruptionBudget", "poddisruptionbudgets", true),
            true,
            &["pdb"],
        )
        .counted(),
        Resource::of(&kind("networking.k8s.io", "Ingress", "ingresses", true), true, &["ing"])
            .counted(),
        Resource::of(
            &kind("networking.k8s.io", "NetworkPolicy", "networkpolicies", false),
            true,
            &["netpol"],
        )
        .counted(),
        Resource::of(&Kind::ENDPOINT_SLICE, true, &[]).counted(),
        Resource::of(&Kind::LEASE, true, &[]),
        Resource::of(&kind(RBAC, "Role", "roles", false), true, &[]),
        Resource::of(&kind(RBAC, "RoleBinding", "rolebindings", false), true, &[]),
        Resource::of(&kind(RBAC, "ClusterRole", "clusterroles", false), false, &[]),
        Resource::of(&kind(RBAC, "ClusterRoleBinding", "clusterrolebindings", false), false, &[]),
        Resource::of(
            &kind(CRD_GROUP, "CustomResourceDefinition", "customresourcedefinitions", true),
            false,
            &["crd", "crds"],
        )
        .counted(),
    ]
}

/// Returns Argo's eight kinds and Istio's, as if their CustomResourceDefinitions were installed.
pub(crate) fn installed() -> Vec<Resource> {
    let alpha = &["v1alpha1"][..];
    let istio = &["v1", "v1beta1", "v1alpha3"][..];
    let phase = || vec![Column::new("Status", "string", ".status.phase"), age()];
    let mut rollout = Resource::of(&Kind::ROLLOUT, true, &["ro"]).scalable().in_all().custom(
        alpha,
        vec![
            Column::new("Desired", "integer", ".spec.replicas"),
            Column::new("Current", "integer", ".status.replicas"),
            Column::new("Up-to-date", "integer", ".status.updatedReplicas"),
            Column::new("Available", "integer", ".status.availableReplicas"),
            age(),
        ],
    );
    rollout.scale_selector = "status.selector".into();
    let application = vec![
        Column::new("Sync Status", "string", ".status.sync.status"),
        Column::new("Health Status", "string", ".status.health.status"),
    ];
    vec![
        rollout,
        Resource::of(&Kind::ANALYSIS_RUN, true, &["ar"]).custom(alpha, phase()),
        Resource::of(&Kind::ANALYSIS_TEMPLATE, true, &["at"]).custom(alpha, vec![age()]),
        Resource::of(&Kind::CLUSTER_ANALYSIS_TEMPLATE, false, &["cat"]).custom(alpha, vec![age()]),
        Resource::of(&Kind::EXPERIMENT, true, &["exp"]).custom(alpha, phase()),
        Resource::of(&Kind::APPLICATION, true, &["app", "apps"]).custom(alpha, application),
        Resource::of(&Kind::APP_PROJECT, true, &["appproj", "appprojs"]).custom(alpha, vec![age()]),
        Resource::of(&Kind::APPLICATION_SET, true, &["appset", "appsets"])
            .custom(alpha, vec![age()]),
        Resource::of(&Kind::VIRTUAL_SERVICE, true, &["vs"]).custom(istio, vec![age()]),
        Resource::of(&Kind::DESTINATION_RULE, true, &["dr"]).custom(istio, vec![age()]),
        Resource::of(&kind("networking.istio.io", "Gateway", "gateways", true), true, &["gw"])
            .custom(istio, vec![age()]),
    ]
}

/// Returns the resource that a CustomResourceDefinition defines, or `None` while it is incomplete.
pub(crate) fn defined_by(crd: &Value) -> Option<Resource> {
    let spec = crd.get("spec")?;
    let names = spec.get("names")?;
    let text = |value: Option<&Value>| value.and_then(Value::as_str).map(str::to_owned);
    let list = |value: Option<&Value>| -> Vec<String> {
        let items = value.and_then(Value::as_array);
        items.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let kind = text(names.get("kind"))?;
    let mut versions: Vec<&Value> = spec.get("versions")?.as_array()?.iter().collect();
    versions.retain(|version| version["served"] == true);
    versions.sort_by_key(|version| version["storage"] != true);
    let stored = *versions.first()?;
    let scale = stored.pointer("/subresources/scale");
    let selector = text(scale.and_then(|scale| scale.get("labelSelectorPath")));
    Some(Resource {
        group: text(spec.get("group"))?,
        versions: versions.iter().filter_map(|version| text(version.get("name"))).collect(),
        plural: text(names.get("plural"))?,
        singular: text(names.get("singular")).unwrap_or_else(|| kind.to_lowercase()),
        kind,
        short_names: list(names.get("shortNames")),
        categories: list(names.get("categories")),
        namespaced: spec["scope"] == "Namespaced",
        status: stored.pointer("/subresources/status").is_some(),
        scale: scale.is_some(),
        scale_selector: selector.unwrap_or_default().trim_start_matches('.').into(),
        generation: true,
        custom: true,
        columns: columns(stored),
        schema: stored.pointer("/schema/openAPIV3Schema").cloned(),
    })
}

fn columns(version: &Value) -> Vec<Column> {
    let Some(columns) = version.get("additionalPrinterColumns").and_then(Value::as_array) else {
        return vec![age()];
    };
    let text = |column: &Value, key: &str| column[key].as_str().unwrap_or_default().to_owned();
    columns
        .iter()
        .map(|column| Column {
            name: text(column, "name"),
            kind: text(column, "type"),
            path: text(column, "jsonPath"),
            priority: column["priority"].as_i64().unwrap_or(0),
        })
        .collect()
}
