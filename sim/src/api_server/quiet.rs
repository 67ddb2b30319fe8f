//! Writes by the simulated controllers themselves. They are not recorded as requests, and a target that is gone in the
//! meantime is no error: the controllers are level-triggered.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::mutate::{DeleteOptions, Writer, text};
use super::resources::Resource;
use super::store::Key;
use super::{ApiServer, key};

impl ApiServer {
    fn located(&self, object: &Value) -> Option<(Resource, Key)> {
        let target = self.target_of(object).ok()?;
        let resource = self.resource(&target.group, &target.plural).ok()?.clone();
        Some((resource, key(&target)))
    }

    pub(crate) fn create_quietly(&mut self, now: DateTime<Utc>, actor: &str, object: Value) {
        if let Some((resource, key)) = self.located(&object) {
            // Refused only where its namespace is terminating or gone.
            let _ = self.create(&Writer::new(now, actor), &resource, key, object);
        }
    }

    pub(crate) fn edit_quietly(
        &mut self,
        now: DateTime<Utc>,
        actor: &str,
        object: &Value,
        edit: impl FnOnce(&mut Value),
    ) {
        let Some((resource, key)) = self.located(object) else { return };
        // Refused only if the object is gone.
        let _ = self.update(&Writer::new(now, actor), &resource, &key, false, |live| {
            let mut object = live.clone();
            edit(&mut object);
            Ok(object)
        });
    }

    pub(crate) fn set_status_quietly(
        &mut self,
        now: DateTime<Utc>,
        actor: &str,
        object: &Value,
        status: Value,
    ) {
        if object["status"] == status {
            return;
        }
        let Some((resource, key)) = self.located(object) else { return };
        let mut writer = Writer::new(now, actor);
        writer.subresource = Some("status".into());
        // Refused only if the object is gone.
        let _ = self.update(&writer, &resource, &key, false, |live| {
            let mut object = live.clone();
            object["status"] = status;
            Ok(object)
        });
    }

    pub(crate) fn delete_quietly(&mut self, now: DateTime<Utc>, actor: &str, object: &Value) {
        let Some((resource, key)) = self.located(object) else { return };
        let options = DeleteOptions {
            uid: Some(text(object, "/metadata/uid").into()),
            ..DeleteOptions::default()
        };
        // Refused only if the object is gone or was created anew.
        let _ = self.delete(&Writer::new(now, actor), &resource, &key, &options);
    }

    /// Ends a Pod whose grace period is over, unless a finalizer holds it.
    pub(crate) fn finish_pod_quietly(&mut self, pod: &Value) {
        let finalizers = pod.pointer("/metadata/finalizers").and_then(Value::as_array);
        if finalizers.is_none_or(Vec::is_empty)
            && let Some((_, key)) = self.located(pod)
        {
            self.finish_deletion(&key);
        }
    }
}
