//! `kill -9` of the controller, again and again, at moments spread over its writes.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice::from_mut,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Result, ensure};
use sluice_e2e::{
    bed::{
        Bed,
        controller::{self, Controller, LEASE},
        ports,
    },
    demo::timeline::median_and_max,
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

use crate::{
    cast::{self, Cast},
    eyes::{Deed, Write},
    lanes,
};

const KILLS: usize = 50;
/// Fewer Rollouts in mid-canary at a kill would prove too little.
const LEAST: usize = 10;
/// Short, and long enough for a busy machine to renew it.
const TIMES: [u32; 3] = [3000, 2400, 200];
/// Of so many kills, one leaves the Lease to run out; after the others it is free at once, so that the next leader meets
/// what the dead one still had under way.
const RUNS_OUT: usize = 10;
/// How long a term may wait for its moment.
const TERM: Duration = Duration::from_millis(1500);

/// When a leader is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Moment {
    /// After so many writes of its term.
    Writes(usize),
    /// As soon as it has done that.
    After(Deed),
}

impl Moment {
    /// A different one for each number, and the same one in each run.
    fn of(number: usize) -> Self {
        const DEEDS: [Deed; 6] =
            [Deed::Weight, Deed::Step, Deed::Scale, Deed::Birth, Deed::Switch, Deed::Measure];
        if number.is_multiple_of(2) {
            Self::Writes(1 + number * 31 % 150)
        } else {
            Self::After(DEEDS[number / 2 % DEEDS.len()])
        }
    }
}

/// What happened on the way.
#[derive(Default)]
struct Tally {
    least: usize,
    /// From a kill to the next leader, where the Lease was free and where it had to run out.
    freed: Vec<Duration>,
    ran_out: Vec<Duration>,
    moments: BTreeMap<String, usize>,
    steps: usize,
    writes: usize,
}

pub(crate) async fn fifty_kills_in_mid_canary_end_as_if_undisturbed(bed: Arc<Bed>) -> Result<()> {
    let installation = cast::installation(&bed).await?;
    let instance = cast::instance("kills", ports::CONTROLLER, "", Some(TIMES))?;
    let mut controller = installation.start(instance).await?;
    let start = Cast::start(&bed, "kill", "", lanes::of_kills());
    let mut cast = cast::kept_alive(from_mut(&mut controller), start).await?;
    let started = Instant::now();
    let tally = kills(&bed, &mut cast, &mut controller).await?;
    let took = started.elapsed().as_secs_f64();
    eprintln!(
        "{KILLS} kills in {took:.0} s: at each at least {} Rollouts in mid-canary; from kill to the \
         next leader {} where the Lease was freed, {} where it ran out; killed after {:?}; between \
         kills {} writes, {} of them to another step; the controller ended {} times by itself",
        tally.least,
        median_and_max(&tally.freed),
        median_and_max(&tally.ran_out),
        tally.moments,
        tally.writes,
        tally.steps,
        controller.restarts,
    );
    let figures = cast::kept_alive(from_mut(&mut controller), cast.ends(&bed)).await?;
    eprintln!("{figures}");
    Ok(())
}

async fn kills(bed: &Bed, cast: &mut Cast, controller: &mut Controller) -> Result<Tally> {
    let namespaces = cast.namespaces();
    let mut tally = Tally { least: usize::MAX, ..Tally::default() };
    let (mut last, mut killed) = (String::new(), None);
    for number in 0..KILLS {
        let frees = !number.is_multiple_of(RUNS_OUT);
        loop {
            let (_, holder) = cast::leads(bed, LEASE, from_mut(controller), &last).await?;
            last = holder;
            if let Some((killed, freed)) = killed.take() {
                let took = Instant::elapsed(&killed);
                if freed { tally.freed.push(took) } else { tally.ran_out.push(took) }
            }
            let restarts = controller.restarts;
            let writes = cast.eyes.writes();
            let moment = moment(number, writes, &namespaces, &mut tally);
            cast::kept_alive(from_mut(controller), moment).await?;
            if controller.restarts == restarts {
                break;
            }
        }
        cast.ensure_under_way()?;
        let under_way = cast.in_mid_canary();
        ensure!(under_way >= LEAST, "{under_way} Rollouts are in mid-canary at kill {number}");
        tally.least = tally.least.min(under_way);
        let at = Instant::now();
        controller.kill().await?;
        // One that had just ended by itself held no Lease to be freed.
        let freed = frees && controller::free(bed, LEASE, &last).await.is_ok();
        killed = Some((at, freed));
        controller.restart().await?;
    }
    Ok(tally)
}

/// Waits for the moment, or for the end of the time that a term is given.
async fn moment(
    number: usize,
    mut writes: Receiver<Write>,
    namespaces: &BTreeSet<String>,
    tally: &mut Tally,
) -> Result<()> {
    let moment = Moment::of(number);
    let mut count = 0;
    let reached = async {
        loop {
            let write = match writes.recv().await {
                Ok(write) => write,
                Err(RecvError::Lagged(_)) => continue,
                Err(RecvError::Closed) => anyhow::bail!("the eyes are shut"),
            };
            if !namespaces.contains(&write.namespace) {
                continue;
            }
            count += 1;
            tally.writes += 1;
            tally.steps += usize::from(write.deed == Deed::Step);
            if moment == Moment::Writes(count) || moment == Moment::After(write.deed) {
                return Ok(());
            }
        }
    };
    let name = match timeout(TERM, reached).await {
        Err(_) => "a term's time".to_owned(),
        Ok(reached) => {
            reached?;
            match moment {
                Moment::Writes(_) => "a number of writes".to_owned(),
                Moment::After(deed) => format!("{deed:?}"),
            }
        }
    };
    *tally.moments.entry(name).or_default() += 1;
    Ok(())
}
