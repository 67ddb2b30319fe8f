//! The leader is stopped for longer than its Lease lasts, and woken again when another leads.

use std::{
    collections::BTreeSet,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use chrono::{DateTime, Utc};
use sluice_e2e::{
    bed::{
        Bed,
        controller::{self, Controller},
    },
    demo::timeline::median_and_max,
    recorder::{self, Request},
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

use crate::{
    cast::{self, Cast},
    eyes::Write,
    lanes,
};

const ROUNDS: usize = 10;
const ID: &str = "turns";
/// Short, and long enough for a busy machine to renew it.
const TIMES: [u32; 3] = [3000, 2400, 200];
/// Fewer Rollouts in mid-canary at a stop would prove too little.
const LEAST: usize = 4;
/// How long anything in a round may take.
const SOON: Duration = Duration::from_secs(60);

/// From the moment a stopped leader was woken until it had ended.
struct Awake {
    credential: String,
    from: DateTime<Utc>,
    to: DateTime<Utc>,
}

/// Two controllers that lead in turns.
struct Pair {
    both: [Controller; 2],
    lease: String,
}

#[derive(Default)]
struct Tally {
    least: usize,
    takeovers: Vec<Duration>,
    ends: Vec<Duration>,
    stops: [usize; 2],
    awake: Vec<Awake>,
}

pub(crate) async fn a_stopped_leader_that_wakes_again_harms_nothing(bed: Arc<Bed>) -> Result<()> {
    let since = Utc::now();
    let mut pair = Pair::start(&bed).await?;
    let start = Cast::start(&bed, "turn", ID, lanes::of_turns());
    let mut cast = cast::kept_alive(&mut pair.both, start).await?;
    let mut tally = Tally { least: usize::MAX, ..Tally::default() };
    for round in 0..ROUNDS {
        pair.round(&bed, &mut cast, round, &mut tally)
            .await
            .with_context(|| format!("round {round}"))?;
    }
    ensure!(tally.stops.iter().all(|stops| *stops > 2), "they took no turns: {:?}", tally.stops);
    let figures = cast::kept_alive(&mut pair.both, cast.ends(&bed)).await?;
    let late = late_writes(&bed, since, &tally.awake)?;
    eprintln!(
        "{ROUNDS} rounds of stop, takeover, waking: at each at least {} Rollouts in mid-canary; from stop to the next leader \
         {}; from waking to its end {}; writes sent after waking: {} accepted, {} refused\n{figures}",
        tally.least,
        median_and_max(&tally.takeovers),
        median_and_max(&tally.ends),
        late.accepted,
        late.refused,
    );
    Ok(())
}

impl Pair {
    async fn start(bed: &Bed) -> Result<Self> {
        let installation = cast::installation(bed).await?;
        let one = |name: &'static str, port: u16| {
            let installation = &installation;
            async move {
                let own = installation.with_own_token(name).await?;
                own.start(cast::instance(name, port, ID, Some(TIMES))?).await
            }
        };
        let (left, right) = tokio::try_join!(one("left", 8290), one("right", 8390))?;
        Ok(Self { both: [left, right], lease: format!("{}-{ID}", controller::LEASE) })
    }

    /// Stops the leader in the middle of its work, lets the other work, and wakes the first.
    async fn round(
        &mut self,
        bed: &Bed,
        cast: &mut Cast,
        round: usize,
        tally: &mut Tally,
    ) -> Result<()> {
        let namespaces = cast.namespaces();
        let (mut place, mut holder);
        loop {
            let mut writes = cast.eyes.writes();
            (place, holder) = cast::leads(bed, &self.lease, &mut self.both, "").await?;
            let some = some_writes(&mut writes, &namespaces, 1 + round * 7 % 23, 0);
            cast::kept_alive(&mut self.both, some).await?;
            self.both[place].process.signal("STOP").await?;
            if controller::holder(bed, &self.lease).await?.as_ref() == Some(&holder) {
                break;
            }
            // It lost the Lease by itself just before: this was no stop of a leader.
            self.both[place].process.signal("CONT").await?;
        }
        let stopped = Instant::now();
        let term = cast.newest_term();
        let under_way = cast.in_mid_canary();
        ensure!(under_way >= LEAST, "{under_way} Rollouts are in mid-canary");
        tally.least = tally.least.min(under_way);
        tally.stops[place] += 1;

        let mut writes = cast.eyes.writes();
        let (left, right) = self.both.split_at_mut(1);
        let (first, other) = if place == 0 { (left, right) } else { (right, left) };
        cast::leads(bed, &self.lease, other, &holder).await?;
        tally.takeovers.push(stopped.elapsed());
        let some = some_writes(&mut writes, &namespaces, 1 + round * 11 % 31, term + 1);
        cast::kept_alive(other, some).await?;

        let credential = first[0].credential().await?;
        let (woken, from) = (Instant::now(), Utc::now());
        first[0].process.signal("CONT").await?;
        let ended = timeout(SOON, first[0].process.wait()).await.context("it works on")??;
        ensure!(!ended.success(), "a leader that lost its Lease ended as if all were well");
        tally.ends.push(woken.elapsed());
        tally.awake.push(Awake { credential, from, to: Utc::now() });
        first[0].restart().await?;
        first[0].healthy().await?;
        cast.ensure_under_way()
    }
}

/// Waits for so many writes of a term not older than `term`.
async fn some_writes(
    writes: &mut Receiver<Write>,
    namespaces: &BTreeSet<String>,
    count: usize,
    term: u64,
) -> Result<()> {
    let seen = async {
        let mut left = count;
        while left > 0 {
            match writes.recv().await {
                Ok(write) if namespaces.contains(&write.namespace) && write.term >= term => {
                    left -= 1
                }
                Ok(_) | Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => bail!("the eyes are shut"),
            }
        }
        Ok(())
    };
    timeout(SOON, seen).await.with_context(|| format!("{count} writes of the leader"))?
}

#[derive(Default)]
struct Late {
    accepted: usize,
    refused: usize,
}

/// Writes that came from a leader after it was woken. A packet that it had ready when it was stopped may still be sent; the laws
/// over the history say that none of them landed where the next leader had written. But nothing new is begun.
fn late_writes(bed: &Bed, since: DateTime<Utc>, awake: &[Awake]) -> Result<Late> {
    let requests = recorder::audit(bed.control_plane.audit_log(), controller::USER, since)?;
    let mut late = Late::default();
    for awake in awake {
        let theirs = |r: &&Request| {
            let at = r.request_received_timestamp;
            r.user.credential() == awake.credential && at >= awake.from && at <= awake.to
        };
        let is_lease = |r: &&Request| r.uri.contains("/leases");
        for request in requests.iter().filter(theirs).filter(|r| r.is_write() && !is_lease(r)) {
            let accepted = request.response_status.as_ref().is_some_and(|a| a.code < 300);
            late.accepted += usize::from(accepted);
            late.refused += usize::from(!accepted);
            let after = request.request_received_timestamp - awake.from;
            ensure!(
                !accepted || after < chrono::Duration::seconds(1),
                "a woken leader wrote {} {} after {after}",
                request.verb,
                request.uri
            );
        }
    }
    let known = |credential: &str| requests.iter().any(|r| r.user.credential() == credential);
    ensure!(awake.iter().all(|a| known(&a.credential)), "the audit log knows no credential");
    Ok(late)
}
