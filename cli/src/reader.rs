//! Reads objects as the API server returns them, with the caller's own rights.

use std::sync::Arc;

use http::Request;
use serde::de::DeserializeOwned;
use serde_json::Value;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_engine::view::Lookup;

use crate::connection::Connection;
use crate::failure::Failure;

/// Reads through a connection.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a> {
    pub(crate) connection: &'a Connection,
}

impl Reader<'_> {
    async fn request(&self, path: &str) -> Result<Value, kube::Error> {
        let request = Request::get(path).body(Vec::new()).map_err(kube::Error::HttpError)?;
        self.connection.client.request(request).await
    }

    /// Reads one object; `None` where there is none.
    pub(crate) async fn get(&self, object: &ObjectRef) -> Result<Option<Value>, Failure> {
        match self.request(&object.path()).await {
            Ok(value) => Ok(Some(value)),
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(None),
            Err(error) => Err(Failure::of(object, "get", &error)),
        }
    }

    /// Lists objects of a kind in a namespace; the selector is empty or percent-encoded.
    pub(crate) async fn list(
        &self,
        kind: Kind,
        namespace: &str,
        selector: &str,
    ) -> Result<Vec<Value>, Failure> {
        let path = kind.collection_path(Some(namespace));
        let object = ObjectRef::namespaced(kind, namespace, "*");
        let list = self
            .request(&format!("{path}?labelSelector={selector}"))
            .await
            .map_err(|e| Failure::of(&object, "list", &e))?;
        Ok(list["items"].as_array().cloned().unwrap_or_default())
    }
}

/// Turns what was read into a record; nothing was read where there is nothing.
pub(crate) fn lookup<T: DeserializeOwned>(found: Option<Value>) -> Result<Lookup<Arc<T>>, Failure> {
    Ok(match found {
        Some(value) => Lookup::Present(Arc::new(decode(&value)?)),
        None => Lookup::Absent,
    })
}

/// Reads a record.
pub(crate) fn decode<T: DeserializeOwned>(value: &Value) -> Result<T, Failure> {
    let name = value["metadata"]["name"].as_str().unwrap_or_default();
    T::deserialize(value).map_err(|e| Failure::new(format!("{name}: {e}")))
}
