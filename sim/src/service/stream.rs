//! The body of a watch: one JSON line for each event, under the faults that concern it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use chrono::TimeDelta;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use serde_json::json;
use tokio::sync::watch;
use tokio::time::Instant;

use super::{Body, BoxError, SimService, Waiting, locked, sleep_until};
use crate::api_server::{Failure, Watch};
use crate::faults::{Subject, WatchFault};

/// A real server ends watches after 30 to 60 minutes.
const LIMIT_SECONDS: u64 = 1800;
/// A real server sends bookmarks about once a minute.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

struct Open {
    service: SimService,
    watch: Watch,
    actor: String,
    changed: watch::Receiver<u64>,
    rules: watch::Receiver<u64>,
    waiting: Waiting,
    ends_at: Instant,
    bookmark_at: Instant,
    over: bool,
}

impl SimService {
    pub(super) fn stream(&self, watch: Watch, actor: String) -> http::Response<Body> {
        let now = Instant::now();
        let limit = watch.timeout_seconds.unwrap_or(LIMIT_SECONDS);
        let open = Open {
            service: self.clone(),
            watch,
            actor,
            changed: self.shared.changed.subscribe(),
            rules: self.shared.watch_rules.subscribe(),
            waiting: VecDeque::new(),
            ends_at: now + Duration::from_secs(limit),
            bookmark_at: now + BOOKMARK_EVERY,
            over: false,
        };
        let frames = futures::stream::unfold(open, |mut open| async move {
            let line = open.next().await?;
            Some((Ok::<_, BoxError>(Frame::data(line)), open))
        });
        let response = http::Response::builder().header("content-type", "application/json");
        let response = response.body(BodyExt::boxed_unsync(StreamBody::new(frames)));
        response.expect("the header is ours and valid")
    }
}

fn line(value: &serde_json::Value) -> Bytes {
    Bytes::from(format!("{value}\n"))
}

impl Open {
    /// Returns the next line, or `None` at the end of the watch.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if self.over {
                return None;
            }
            self.changed.borrow_and_update();
            self.rules.borrow_and_update();
            if let Err(failure) = self.pull() {
                return Some(self.error(&failure));
            }
            let now = self.service.clock().now();
            let held = self.fault() == Some(WatchFault::Hold);
            if !held && self.waiting.front().is_some_and(|(at, _)| *at <= now) {
                return self.waiting.pop_front().map(|(_, line)| line);
            }
            let due = self.waiting.front().filter(|_| !held);
            let due = due.and_then(|(at, _)| self.service.clock().instant_of(*at));
            let bookmarks = self.service.with_world(|world| world.api.bookmark(&self.watch));
            let bookmark = bookmarks.filter(|_| self.waiting.is_empty());
            let bookmark_at = bookmark.as_ref().map(|_| self.bookmark_at);
            tokio::select! {
                biased;
                _ = self.changed.changed() => {}
                _ = self.rules.changed() => {}
                () = sleep_until(due) => {}
                () = tokio::time::sleep_until(self.ends_at) => return None,
                () = sleep_until(bookmark_at) => {
                    self.bookmark_at = Instant::now() + BOOKMARK_EVERY;
                    return bookmark.as_ref().map(line);
                }
            }
        }
    }

    fn fault(&self) -> Option<WatchFault> {
        let subject =
            Subject { verb: "watch", plural: &self.watch.plural, name: "", actor: &self.actor };
        locked(&self.service.shared.faults).decide_watch(&subject)
    }

    /// Takes what is new from the history into the queue.
    fn pull(&mut self) -> Result<(), Failure> {
        let fault = self.fault();
        let now = self.service.clock().now();
        let events = locked(&self.service.shared.world).api.watched(&mut self.watch)?;
        let (at, copies) = match fault {
            Some(WatchFault::Delay(delay)) => {
                (now + TimeDelta::from_std(delay).unwrap_or(TimeDelta::MAX), 1)
            }
            Some(WatchFault::Drop) => (now, 0),
            Some(WatchFault::Duplicate) => (now, 2),
            Some(WatchFault::Hold) | None => (now, 1),
        };
        for event in events {
            for _ in 0..copies {
                self.waiting.push_back((at, line(&event.body)));
            }
        }
        Ok(())
    }

    fn error(&mut self, failure: &Failure) -> Bytes {
        self.over = true;
        line(&json!({ "type": "ERROR", "object": failure.body() }))
    }
}
