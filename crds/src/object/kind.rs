use std::borrow::Cow;

/// Group, version, kind and plural of a resource.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// API version, such as `v1alpha1`.
    pub version: Cow<'static, str>,
    /// Kind, such as `Rollout`.
    pub kind: Cow<'static, str>,
    /// Plural in paths, such as `rollouts`.
    pub plural: Cow<'static, str>,
    /// Whether status is a subresource of its own, so that it is written at `…/status`.
    pub status_subresource: bool,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
    status_subresource: bool,
) -> Kind {
    Kind {
        group: Cow::Borrowed(group),
        version: Cow::Borrowed(version),
        kind: Cow::Borrowed(kind),
        plural: Cow::Borrowed(plural),
        status_subresource,
    }
}

const ARGO: &str = "argoproj.io";
const ALPHA: &str = "v1alpha1";
const ISTIO: &str = "networking.istio.io";

impl Kind {
    /// Rollout: the only kind of Argo Rollouts with a status subresource.
    pub const ROLLOUT: Self = kind(ARGO, ALPHA, "Rollout", "rollouts", true);
    /// AnalysisRun.
    pub const ANALYSIS_RUN: Self = kind(ARGO, ALPHA, "AnalysisRun", "analysisruns", false);
    /// AnalysisTemplate.
    pub const ANALYSIS_TEMPLATE: Self =
        kind(ARGO, ALPHA, "AnalysisTemplate", "analysistemplates", false);
    /// ClusterAnalysisTemplate; cluster-scoped.
    pub const CLUSTER_ANALYSIS_TEMPLATE: Self =
        kind(ARGO, ALPHA, "ClusterAnalysisTemplate", "clusteranalysistemplates", false);
    /// Experiment.
    pub const EXPERIMENT: Self = kind(ARGO, ALPHA, "Experiment", "experiments", false);
    /// Application. Its status is written on the main endpoint, as Argo CD does.
    pub const APPLICATION: Self = kind(ARGO, ALPHA, "Application", "applications", false);
    /// AppProject.
    pub const APP_PROJECT: Self = kind(ARGO, ALPHA, "AppProject", "appprojects", false);
    /// ApplicationSet.
    pub const APPLICATION_SET: Self = kind(ARGO, ALPHA, "ApplicationSet", "applicationsets", true);
    /// ReplicaSet.
    pub const REPLICA_SET: Self = kind("apps", "v1", "ReplicaSet", "replicasets", true);
    /// Deployment.
    pub const DEPLOYMENT: Self = kind("apps", "v1", "Deployment", "deployments", true);
    /// PodTemplate.
    pub const POD_TEMPLATE: Self = kind("", "v1", "PodTemplate", "podtemplates", false);
    /// Pod.
    pub const POD: Self = kind("", "v1", "Pod", "pods", true);
    /// Job.
    pub const JOB: Self = kind("batch", "v1", "Job", "jobs", true);
    /// Service.
    pub const SERVICE: Self = kind("", "v1", "Service", "services", true);
    /// EndpointSlice.
    pub const ENDPOINT_SLICE: Self =
        kind("discovery.k8s.io", "v1", "EndpointSlice", "endpointslices", false);
    /// ConfigMap.
    pub const CONFIG_MAP: Self = kind("", "v1", "ConfigMap", "configmaps", false);
    /// Secret.
    pub const SECRET: Self = kind("", "v1", "Secret", "secrets", false);
    /// Namespace; cluster-scoped.
    pub const NAMESPACE: Self = kind("", "v1", "Namespace", "namespaces", true);
    /// Lease.
    pub const LEASE: Self = kind("coordination.k8s.io", "v1", "Lease", "leases", false);
    /// Event of the core group, as Argo writes it.
    pub const EVENT: Self = kind("", "v1", "Event", "events", false);
    /// Istio VirtualService.
    pub const VIRTUAL_SERVICE: Self = kind(ISTIO, "v1", "VirtualService", "virtualservices", true);
    /// Istio DestinationRule.
    pub const DESTINATION_RULE: Self =
        kind(ISTIO, "v1", "DestinationRule", "destinationrules", true);

    /// Returns `apiVersion` as manifests write it: `v1`, `apps/v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_string()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// Returns the path of the collection, such as `/apis/apps/v1/namespaces/shop/replicasets`.
    pub fn collection_path(&self, namespace: Option<&str>) -> String {
        let mut path = if self.group.is_empty() {
            format!("/api/{}", self.version)
        } else {
            format!("/apis/{}/{}", self.group, self.version)
        };
        if let Some(namespace) = namespace {
            path.push_str("/namespaces/");
            path.push_str(namespace);
        }
        path.push('/');
        path.push_str(&self.plural);
        path
    }
}
