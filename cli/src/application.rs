//! Application as a kube resource. Unlike other kinds it has a third part, `operation`, so no derive fits.

use std::borrow::Cow;

use k8s_openapi::NamespaceResourceScope;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::{Deserialize, Serialize};
use sluice_crds::application::{ApplicationSpec, ApplicationStatus, Operation};
use sluice_crds::object::Kind;

/// An Application with full metadata, as people read and write it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Application {
    // Items of a list come without both.
    #[serde(default = "api_version")]
    api_version: String,
    #[serde(default = "kind")]
    kind: String,
    #[serde(default)]
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: ApplicationSpec,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) status: Option<ApplicationStatus>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<Operation>,
}

fn api_version() -> String {
    Kind::APPLICATION.api_version()
}

fn kind() -> String {
    Kind::APPLICATION.kind.into_owned()
}

impl kube::Resource for Application {
    type DynamicType = ();
    type Scope = NamespaceResourceScope;

    fn kind((): &()) -> Cow<'_, str> {
        Kind::APPLICATION.kind
    }
    fn group((): &()) -> Cow<'_, str> {
        Kind::APPLICATION.group
    }
    fn version((): &()) -> Cow<'_, str> {
        Kind::APPLICATION.version
    }
    fn plural((): &()) -> Cow<'_, str> {
        Kind::APPLICATION.plural
    }
    fn meta(&self) -> &ObjectMeta {
        &self.metadata
    }
    fn meta_mut(&mut self) -> &mut ObjectMeta {
        &mut self.metadata
    }
}
