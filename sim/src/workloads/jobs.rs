use serde_json::{Value, json};
use sluice_crds::object::Kind;

use super::{
    JOB_ENDS, JOB_LASTS, Pass, controller_reference, is_controlled_by, is_terminating, text,
};

const CONTROLLER: &str = "job-controller";

impl Pass<'_> {
    /// One Pod for each Job; once it runs, it ends in its time, and the Job with it. A Pod that cannot start keeps its Job open.
    pub(super) fn jobs(&mut self) {
        for job in self.api.objects(&Kind::JOB, None) {
            if !is_terminating(&job) && !is_finished(&job) {
                self.job(&job);
            }
        }
    }

    fn job(&mut self, job: &Value) {
        let namespace = text(job, "/metadata/namespace");
        let uid = text(job, "/metadata/uid");
        let pods = self.api.objects(&Kind::POD, Some(namespace));
        let Some(pod) = pods.iter().find(|pod| is_controlled_by(pod, uid)) else {
            return self.create_job_pod(job);
        };
        let Some(ready) = self.ready_at(pod) else { return };
        let annotation = |key: &str| pod["metadata"]["annotations"][key].as_str();
        let lasts = annotation(JOB_LASTS).and_then(|text| text.parse::<f64>().ok());
        if !self.due(ready + crate::scenario::seconds(lasts.unwrap_or(1.0))) {
            return;
        }
        let good = annotation(JOB_ENDS) != Some("failed");
        self.end_job(job, good);
        let mut status = pod["status"].clone();
        status["phase"] = json!(if good { "Succeeded" } else { "Failed" });
        self.api.set_status_quietly(self.now, "kubelet", pod, status);
    }

    fn create_job_pod(&mut self, job: &Value) {
        let template = &job["spec"]["template"];
        let name = text(job, "/metadata/name");
        let mut labels = template["metadata"]["labels"].clone();
        labels["batch.kubernetes.io/job-name"] = json!(name);
        let pod = json!({
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {
                "generateName": format!("{name}-"),
                "namespace": text(job, "/metadata/namespace"),
                "labels": labels,
                "annotations": template["metadata"]["annotations"],
                "ownerReferences": controller_reference(job),
            },
            "spec": template["spec"],
        });
        self.api.create_quietly(self.now, CONTROLLER, pod);
    }

    fn end_job(&mut self, job: &Value, good: bool) {
        let now = self.now.to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
        let (kind, reason, message) = if good {
            ("Complete", "CompletionsReached", "Reached expected number of succeeded pods")
        } else {
            ("Failed", "BackoffLimitExceeded", "Job has reached the specified backoff limit")
        };
        let mut status = json!({
            "conditions": [{
                "type": kind,
                "status": "True",
                "reason": reason,
                "message": message,
                "lastTransitionTime": now,
            }],
        });
        status[if good { "succeeded" } else { "failed" }] = json!(1);
        self.api.set_status_quietly(self.now, CONTROLLER, job, status);
    }
}

fn is_finished(job: &Value) -> bool {
    let conditions = job.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition["status"] == "True"
            && (condition["type"] == "Complete" || condition["type"] == "Failed")
    })
}
