//! What goes wrong between a client and the server, chosen by rule.

use std::time::Duration;

/// What happens to a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// It never arrives; the client sees a reset connection.
    LoseRequest,
    /// It is carried out; the client sees a reset connection.
    LoseReply,
    /// It is answered 409 and not carried out.
    Conflict,
    /// It is answered with this status and not carried out.
    ErrorBefore(u16),
    /// It is carried out and answered with this status.
    ErrorAfter(u16),
    /// It is answered 429 with `Retry-After` and not carried out.
    Throttle {
        /// Value of `Retry-After`, in seconds.
        retry_after_seconds: u32,
    },
    /// It arrives later.
    Delay(Duration),
    /// The client sees a reset connection at once; the request arrives later all the same.
    Zombie(Duration),
    /// It is never answered.
    Hang,
}

/// What happens to the events of a watch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum WatchFault {
    /// They come later.
    Delay(Duration),
    /// They wait until the rule is withdrawn.
    Hold,
    /// They never come; a new list shows their effect.
    Drop,
    /// Each comes twice.
    Duplicate,
}

/// Which requests a fault concerns. What is `None` matches everything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Matches {
    /// Kubernetes verb, such as `patch`.
    pub verb: Option<String>,
    /// Plural, such as `virtualservices`.
    pub plural: Option<String>,
    /// Name of the object.
    pub name: Option<String>,
    /// Part of the user agent.
    pub actor: Option<String>,
}

impl Matches {
    /// Returns a matcher of writes and reads of one resource.
    pub fn plural(plural: &str) -> Self {
        Self { plural: Some(plural.into()), ..Self::default() }
    }

    /// Returns the matcher, narrowed to a verb.
    pub fn verb(mut self, verb: &str) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// Returns the matcher, narrowed to an actor.
    pub fn actor(mut self, actor: &str) -> Self {
        self.actor = Some(actor.into());
        self
    }

    fn hits(&self, subject: &Subject<'_>) -> bool {
        let equals = |wanted: &Option<String>, actual: &str| {
            wanted.as_ref().is_none_or(|wanted| wanted == actual)
        };
        equals(&self.verb, subject.verb)
            && equals(&self.plural, subject.plural)
            && equals(&self.name, subject.name)
            && self.actor.as_ref().is_none_or(|actor| subject.actor.contains(actor.as_str()))
    }
}

/// The request or watch that a plan is asked about.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// Kubernetes verb.
    pub verb: &'a str,
    /// Plural.
    pub plural: &'a str,
    /// Name, or empty.
    pub name: &'a str,
    /// User agent.
    pub actor: &'a str,
}

#[derive(Clone, Debug)]
struct Rule<F> {
    id: u64,
    matches: Matches,
    skip: u32,
    times: u32,
    fault: F,
}

/// The faults that are still to come, and those that have come.
#[derive(Clone, Debug, Default)]
pub struct FaultPlan {
    requests: Vec<Rule<Fault>>,
    watches: Vec<Rule<WatchFault>>,
    last_id: u64,
    hits: u64,
}

impl FaultPlan {
    /// Lets the next `times` matching requests, after the first `skip`, meet the fault. Returns the rule's number.
    pub fn on(&mut self, matches: Matches, skip: u32, times: u32, fault: Fault) -> u64 {
        self.last_id += 1;
        self.requests.push(Rule { id: self.last_id, matches, skip, times, fault });
        self.last_id
    }

    /// Lets every event of matching watches meet the fault until the rule is withdrawn. Returns the rule's number.
    pub fn on_watch(&mut self, matches: Matches, fault: WatchFault) -> u64 {
        self.last_id += 1;
        let rule = Rule { id: self.last_id, matches, skip: 0, times: u32::MAX, fault };
        self.watches.push(rule);
        self.last_id
    }

    /// Withdraws a rule.
    pub fn withdraw(&mut self, id: u64) {
        self.requests.retain(|rule| rule.id != id);
        self.watches.retain(|rule| rule.id != id);
    }

    /// Returns how many requests met a fault.
    pub fn hits(&self) -> u64 {
        self.hits
    }

    /// Returns what happens to this request; each rule counts the requests that it matches.
    pub fn decide(&mut self, subject: &Subject<'_>) -> Option<Fault> {
        let mut chosen = None;
        for rule in self.requests.iter_mut().filter(|rule| rule.matches.hits(subject)) {
            if rule.skip > 0 {
                rule.skip -= 1;
            } else if rule.times > 0 && chosen.is_none() {
                rule.times -= 1;
                chosen = Some(rule.fault.clone());
            }
        }
        self.requests.retain(|rule| rule.times > 0);
        self.hits += u64::from(chosen.is_some());
        chosen
    }

    /// Returns what happens to an event of this watch.
    pub fn decide_watch(&self, subject: &Subject<'_>) -> Option<WatchFault> {
        self.watches.iter().find(|rule| rule.matches.hits(subject)).map(|rule| rule.fault)
    }
}

#[cfg(test)]
mod tests;
